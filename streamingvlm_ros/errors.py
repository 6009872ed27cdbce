"""Errors that this package raises on purpose. Each message says what to do."""


class StreamingVLMError(Exception):
    """Base of all errors of this package."""


class BagError(StreamingVLMError):
    """A bag is missing, can't be read or written, or the path holds no bag."""


class ConfigError(StreamingVLMError, ValueError):
    """A setting is outside its range, or settings contradict each other."""


class DataError(StreamingVLMError, ValueError):
    """Training data is missing or invalid."""


class HistoryError(StreamingVLMError):
    """A history's folder or file can't be used or read."""


class ImageError(StreamingVLMError, ValueError):
    """An image can't be used: unknown encoding, no pixels, a wrong step or size, a broken file."""


class ModelError(StreamingVLMError):
    """A checkpoint is missing, unreadable, or not a Qwen2.5-VL."""


class QuestionError(StreamingVLMError, ValueError):
    """A question can't be answered: empty, too long, or nothing has been seen yet."""


class EvaluationError(StreamingVLMError, ValueError):
    """An evaluation can't run: nothing to evaluate, unknown model, or no reply from the judge."""


class WordsError(StreamingVLMError, ValueError):
    """A file of narration or questions, or one of its lines, can't be read."""


class SourceError(StreamingVLMError):
    """A video or another source of frames can't be opened or read."""
