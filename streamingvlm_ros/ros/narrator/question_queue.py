"""Where questions are handed in: so many at a time, and none is left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...errors import QuestionError
from ...inbox import Inbox
from ...types import Ask, Question
from .pending_question import Inquiry
from .worker import CAMERA


class Desk:
    """Hands questions to an inbox and waits for their answers, of at most `most` at a time.

    Safe between threads: each asker waits in a thread of its own.
    """

    def __init__(self, inbox: Inbox, most: int) -> None:
        self._inbox, self._most = inbox, most
        self._places: set[Inquiry] = set()
        self._closed = ""
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Questions under way or waiting."""
        return len(self._places)

    @contextmanager
    def place(self, inquiry: Inquiry) -> Iterator[None]:
        """A place for the time in which the block lasts. QuestionError if there is none."""
        with self._changed:
            if self._closed:
                raise QuestionError(self._closed)
            if len(self._places) >= self._most:
                raise QuestionError(
                    f"{self._most} questions are under way or waiting, and no more may "
                    "(max_questions): ask again when one is answered"
                )
            self._places.add(inquiry)
        try:
            yield
        finally:
            with self._changed:
                self._places.remove(inquiry)
                self._changed.notify_all()

    def ask(self, question: Question, inquiry: Inquiry, hear: Callable[[str], None]) -> None:
        """Let `question` be answered; `hear` is given each piece. Returns when it is over."""
        request = Ask(question, inquiry.on_done, inquiry.on_token, inquiry.on_start)
        self._inbox.post(CAMERA, request)
        try:
            for piece in inquiry.pieces():
                hear(piece)
        finally:
            inquiry.end("nobody listened")
            self._inbox.withdraw(request)

    def end(self, why: str) -> None:
        """Take no more questions, and end those under way with what there is so far."""
        with self._changed:
            self._closed = why
            for inquiry in self._places:
                inquiry.end(why)

    def close(self, why: str) -> None:
        """`end`, and wait until everybody has left."""
        self.end(why)
        with self._changed:
            self._changed.wait_for(lambda: not self._places)
