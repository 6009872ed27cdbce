"""Questions between the threads that wait for an answer and the one that owns the engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from ...errors import QuestionError, StreamingVLMError
from ...inbox import Inbox
from ...types import Answer, Ask, FrameSpan, Question
from .worker import CAMERA

TIMEOUT = "timeout"
CANCELLED = "cancelled"

_MAX_WAIT_S = 1e9
"""Python can't wait for much longer than this."""


@dataclass(frozen=True)
class Outcome:
    """The end of a question: an answer, or None and a `message` that says why.

    With an answer, `message` is empty, or says why the answer is incomplete. `first_token_s` is the
    time from the question's arrival to its first token, 0 without a token. `frame_id` is that of
    the newest frame, and `moments_ns` are the stamps of the history's moments. `remembered` is true
    if question and answer became part of the stream's context.
    """

    answer: Answer | None
    message: str = ""
    first_token_s: float = 0.0
    frame_id: str = ""
    moments_ns: tuple[int, ...] = ()
    remembered: bool = False


class PendingQuestion:
    """Collects an answer token by token until it is complete, cancelled or out of time.

    The thread that answers calls `on_start`, `on_token` and `on_done`: they never raise, and do
    nothing once the question is done. Thread-safe.
    """

    def __init__(self, timeout_s: float = 0.0) -> None:
        """Start the clock. A `timeout_s` of 0 means no limit."""
        self._start_s = time.monotonic()
        self._timeout_s = min(timeout_s, _MAX_WAIT_S) or None
        self._first_token_s = 0.0
        self._tokens = 0
        self._span = FrameSpan()
        self._texts: list[str] = []
        self._result: Answer | StreamingVLMError | None = None
        self._cancel_reason = ""
        self._changed = threading.Condition()

    @property
    def cancelled(self) -> bool:
        """True if the asker cancelled the question before it was done."""
        return self._cancel_reason == CANCELLED

    def on_start(self, span: FrameSpan) -> bool:
        """Note the frames that the answer is based on. Return False to stop answering."""
        with self._changed:
            self._span = span
            return not self._done

    def on_token(self, text: str) -> bool:
        """Add a token's text, which may be empty. Return False to stop answering."""
        with self._changed:
            if self._done:
                return False
            self._tokens += 1
            if text:
                self._first_token_s = self._first_token_s or time.monotonic() - self._start_s
                self._texts.append(text)
                self._changed.notify_all()
            return True

    def on_done(self, result: Answer | StreamingVLMError) -> None:
        """Set the complete answer, or the error that prevented one."""
        with self._changed:
            if not self._done:
                self._result = result
                self._changed.notify_all()

    def cancel(self, reason: str) -> None:
        """End the question now: the answer is the text so far."""
        with self._changed:
            if not self._done:
                self._cancel_reason = reason
                self._changed.notify_all()

    def text_chunks(self) -> Iterator[str]:
        """Yield the answer's texts as they arrive, until the question is done or out of time."""
        sent = 0
        while True:
            with self._changed:
                self._changed.wait_for(partial(self._has_news, sent), self._remaining_s())
                if not self._done and self._remaining_s() == 0.0:
                    self._cancel_reason = TIMEOUT
                new, done = self._texts[sent:], self._done
            yield from new
            sent += len(new)
            if done:
                return

    def outcome(self) -> Outcome:
        """Return how the question ended. Call it when the question is done."""
        match self._result:
            case Answer() as answer:
                message = _truncation(answer)
            case StreamingVLMError() as error:
                return Outcome(None, str(error))
            case _ if not self._texts:
                return Outcome(None, f"{self._cancel_reason} before the first token")
            case _:
                answer, message = self._partial_answer(), f"truncated: {self._cancel_reason}"
        return Outcome(answer, message, self._first_token_s, self._span.frame_id)

    @property
    def _done(self) -> bool:
        return self._result is not None or bool(self._cancel_reason)

    def _partial_answer(self) -> Answer:
        text, span = "".join(self._texts), self._span
        return Answer(text, span.from_ns, span.until_ns, self._tokens, complete=False)

    def _has_news(self, sent: int) -> bool:
        return len(self._texts) > sent or self._done

    def _remaining_s(self) -> float | None:
        if self._timeout_s is None:
            return None
        return max(0.0, self._start_s + self._timeout_s - time.monotonic())


class QuestionQueue:
    """Posts questions to an inbox and waits for their answers, at most `max_pending` at a time.

    Thread-safe: each question waits in a thread of its own.
    """

    def __init__(self, inbox: Inbox, max_pending: int) -> None:
        self._inbox, self._max_pending = inbox, max_pending
        self._pending: set[PendingQuestion] = set()
        self._close_reason = ""
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Return the number of questions in progress or waiting."""
        return len(self._pending)

    @contextmanager
    def slot(self, pending: PendingQuestion) -> Iterator[None]:
        """Hold one of the queue's slots for `pending` while the block runs.

        Raises:
            QuestionError: all slots are taken, or the queue is closed.
        """
        with self._changed:
            if self._close_reason:
                raise QuestionError(self._close_reason)
            if len(self._pending) >= self._max_pending:
                raise QuestionError(
                    f"{self._max_pending} questions are already in progress or waiting "
                    "(max_questions): ask again when one is answered"
                )
            self._pending.add(pending)
        try:
            yield
        finally:
            with self._changed:
                self._pending.remove(pending)
                self._changed.notify_all()

    def ask(
        self, question: Question, pending: PendingQuestion, *, on_text: Callable[[str], None]
    ) -> None:
        """Have `question` answered, and call `on_text` with each text. Return when it is done."""
        request = Ask(question, pending.on_done, pending.on_token, pending.on_start)
        if not self._inbox.post(CAMERA, request):
            pending.on_done(QuestionError("narration has stopped: see /diagnostics"))
        try:
            for text in pending.text_chunks():
                on_text(text)
        finally:
            pending.cancel("the client is gone")
            self._inbox.withdraw(request)

    def cancel_all(self, reason: str) -> None:
        """Refuse further questions; those in progress end with the text so far."""
        with self._changed:
            self._close_reason = reason
            for pending in self._pending:
                pending.cancel(reason)

    def close(self, reason: str) -> None:
        """Call `cancel_all`, and wait until every slot is free."""
        self.cancel_all(reason)
        with self._changed:
            self._changed.wait_for(lambda: not self._pending)


def _truncation(answer: Answer) -> str:
    if answer.complete:
        return ""
    return f"truncated: token limit reached (max_tokens: {answer.tokens})"
