"""What this package raises on purpose derives from these. Each message says what to do."""


class StreamingVLMError(Exception):
    """Base of all errors below: catch it to catch whatever is ours."""


class BagError(StreamingVLMError):
    """A bag is missing, is none, or can't be read or written."""


class ConfigError(StreamingVLMError, ValueError):
    """A setting is outside its range, or settings contradict each other."""


class DataError(StreamingVLMError, ValueError):
    """What a model is to be trained on is missing, or is not what it should be."""


class HistoryError(StreamingVLMError):
    """A history's folder or file can't be used, or what it holds can't be read."""


class ImageError(StreamingVLMError, ValueError):
    """An image can't be used: unknown encoding, no pixels, a wrong step or size, a broken file."""


class ModelError(StreamingVLMError):
    """A checkpoint is missing, unreadable, or not a Qwen2.5-VL."""


class QuestionError(StreamingVLMError, ValueError):
    """A question can't be answered: empty, too long, or nothing has been seen yet."""


class EvaluationError(StreamingVLMError, ValueError):
    """An evaluation can't be made: nothing to evaluate, no such model, a judge that is silent."""


class WordsError(StreamingVLMError, ValueError):
    """A file of narration or questions can't be read, or a line of it."""


class SourceError(StreamingVLMError):
    """A video or another source of frames can't be opened or read."""
