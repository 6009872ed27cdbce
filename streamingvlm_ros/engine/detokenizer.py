"""An answer as it is heard: pieces of text, each only when no later token can change it."""

from __future__ import annotations

from .chat_format import TO_BE_CONTINUED, ChatFormat

_UNFINISHED = "\ufffd"
"""What a tokenizer writes for the first bytes of a character whose last are still to come."""


class IncrementalDetokenizer:
    """Reads one answer token by token. All pieces together are what `ChatFormat.decode` reads."""

    def __init__(self, chat_format: ChatFormat) -> None:
        self._chat_format = chat_format
        self._ids: list[int] = []
        self._said = ""

    def add(self, id: int) -> str:
        """What can be read further with one more token; '' if that is not certain yet."""
        self._ids.append(id)
        text = self._chat_format.decode(self._ids).rstrip(_UNFINISHED)
        for length in range(len(TO_BE_CONTINUED) - 1, 0, -1):
            if text.endswith(TO_BE_CONTINUED[:length]):
                text = text[:-length]
                break
        return self._say(text.rstrip())

    def end(self) -> str:
        """The rest, when no token will come any more."""
        return self._say(self._chat_format.decode(self._ids))

    def _say(self, text: str) -> str:
        piece = text.removeprefix(self._said)
        self._said = text
        return piece
