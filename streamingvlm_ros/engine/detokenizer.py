"""An answer as pieces of text, each as soon as no later token can change it."""

from __future__ import annotations

from .chat_format import TO_BE_CONTINUED, ChatFormat

_UNFINISHED = "\ufffd"
"""What a tokenizer writes for the first bytes of a character whose last are still to come."""


class IncrementalDetokenizer:
    """Reads one answer token by token. All pieces together are what `ChatFormat.decode` reads."""

    def __init__(self, chat_format: ChatFormat) -> None:
        self._chat_format = chat_format
        self._ids: list[int] = []
        self._emitted = ""

    def add(self, id: int) -> str:
        """Return the text that one more token makes certain; '' if none."""
        self._ids.append(id)
        text = self._chat_format.decode(self._ids).rstrip(_UNFINISHED)
        for length in range(len(TO_BE_CONTINUED) - 1, 0, -1):
            if text.endswith(TO_BE_CONTINUED[:length]):
                text = text[:-length]
                break
        return self._emit(text.rstrip())

    def end(self) -> str:
        """Return the rest, when no token will come any more."""
        return self._emit(self._chat_format.decode(self._ids))

    def _emit(self, text: str) -> str:
        piece = text.removeprefix(self._emitted)
        self._emitted = text
        return piece
