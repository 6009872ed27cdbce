"""Errors of loading a checkpoint: whatever fails becomes one ModelError that helps."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..atomic_write import DISK_FULL
from ..errors import ModelError, StreamingVLMError

_MAX_LENGTH = 400
"""Characters of a library's message that are shown."""

_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate")


@contextmanager
def as_model_error(action: str, remedy: str = "") -> Iterator[None]:
    """Raise any exception as a ModelError: which `action` failed, why, and the remedy.

    transformers and the libraries below it raise exceptions of every class for a broken file or a
    missing library. Errors of this package pass unchanged.
    """
    try:
        yield
    except StreamingVLMError:
        raise
    except Exception as error:
        ending = f". {remedy}" if remedy else ""
        raise ModelError(f"{action}: {reason(error)}{ending}") from error


def reason(error: Exception) -> str:
    """Return the cause of an exception in one line, with a remedy where one is known."""
    text = " ".join(str(error).split()).rstrip(".")
    if len(text) > _MAX_LENGTH:
        text = text[:_MAX_LENGTH] + " …"
    if _is_out_of_memory(error):
        return (
            "not enough memory. Free some, use a smaller checkpoint, or set dtype to bfloat16 "
            f"({text or type(error).__name__})"
        )
    match error:
        case ImportError():
            return f"a library is missing. {text}"
        case OSError(errno=number) if number in DISK_FULL:
            return f"the disk is full: free space on it ({text})"
        case OSError(filename=str(file), strerror=str(problem)):
            return f"{file}: {problem}"
        case RecursionError():
            return "a file is nested too deeply: download the checkpoint again"
        case KeyError():
            return f"the entry {text} is missing in a file: download the checkpoint again"
        case OSError() | ValueError() | RuntimeError():
            return text or type(error).__name__
    return f"{type(error).__name__}: {text}"


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)
