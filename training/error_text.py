"""Errors as one line for reports."""

from __future__ import annotations

from streamingvlm_ros.errors import StreamingVLMError

_MAX_CHARACTERS = 500


def error_text(error: Exception) -> str:
    """Return an error in one line of limited length that any UTF-8 file can hold.

    The messages of this package stand alone. Others need the type: of a KeyError the message is
    only the key.
    """
    message = " ".join(str(error).split())
    if not isinstance(error, StreamingVLMError):
        message = f"{type(error).__name__}: {message}" if message else type(error).__name__
    message = message.encode("utf-8", "backslashreplace").decode()
    return message if len(message) <= _MAX_CHARACTERS else f"{message[: _MAX_CHARACTERS - 1]}…"
