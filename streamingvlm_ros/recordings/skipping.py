"""Why a recording is skipped: whatever happens with one of several, the others go on."""

from __future__ import annotations

import traceback
from pathlib import PurePath

from ..atomic_write import DISK_FULL
from ..errors import ConfigError, ModelError, StreamingVLMError

_MAX_CHARACTERS = 500


def skip_reason(error: Exception) -> str:
    """Return why a recording is skipped after any error while it was read.

    Libraries raise anything on broken or unusual files. An error that nobody expected is given
    with its place in the code.

    Raises:
        The error itself, if the recording isn't at fault and others would fail as well: the model
        or a setting is wrong, or the disk is full.
    """
    if isinstance(error, ConfigError | ModelError):
        raise error
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        raise error
    if isinstance(error, StreamingVLMError | OSError):
        return one_line(_message(error))
    *_, place = traceback.extract_tb(error.__traceback__)
    message = one_line(f"{type(error).__name__}: {_message(error)}").removesuffix(":")
    return f"unexpected {message} ({PurePath(place.filename).name}, line {place.lineno})"


def one_line(text: str) -> str:
    """Return a message as one line of limited length that UTF-8 can encode."""
    line = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return line if len(line) <= _MAX_CHARACTERS else f"{line[: _MAX_CHARACTERS - 1]}…"


def _message(error: Exception) -> str:
    """Return an error's message; '' if it can't be made, as of numpy's with other arguments."""
    try:
        return str(error)
    except Exception:
        return ""
