"""Where questions are handed in: so many at a time, and none is left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...errors import QuestionError
from ...inbox import Inbox
from ...types import Ask, Question
from .pending_question import PendingQuestion
from .worker import CAMERA


class QuestionQueue:
    """Hands questions to an inbox and waits for their answers, of at most `most` at a time.

    Safe between threads: each asker waits in a thread of its own.
    """

    def __init__(self, inbox: Inbox, most: int) -> None:
        self._inbox, self._most = inbox, most
        self._places: set[PendingQuestion] = set()
        self._closed = ""
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Questions under way or waiting."""
        return len(self._places)

    @contextmanager
    def place(self, pending: PendingQuestion) -> Iterator[None]:
        """A place for the time in which the block lasts. QuestionError if there is none."""
        with self._changed:
            if self._closed:
                raise QuestionError(self._closed)
            if len(self._places) >= self._most:
                raise QuestionError(
                    f"{self._most} questions are under way or waiting, and no more may "
                    "(max_questions): ask again when one is answered"
                )
            self._places.add(pending)
        try:
            yield
        finally:
            with self._changed:
                self._places.remove(pending)
                self._changed.notify_all()

    def ask(
        self, question: Question, pending: PendingQuestion, hear: Callable[[str], None]
    ) -> None:
        """Let `question` be answered; `hear` is given each piece. Returns when it is over."""
        request = Ask(question, pending.on_done, pending.on_token, pending.on_start)
        self._inbox.post(CAMERA, request)
        try:
            for piece in pending.pieces():
                hear(piece)
        finally:
            pending.end("nobody listened")
            self._inbox.withdraw(request)

    def end(self, why: str) -> None:
        """Take no more questions, and end those under way with what there is so far."""
        with self._changed:
            self._closed = why
            for pending in self._places:
                pending.end(why)

    def close(self, why: str) -> None:
        """`end`, and wait until everybody has left."""
        self.end(why)
        with self._changed:
            self._changed.wait_for(lambda: not self._places)
