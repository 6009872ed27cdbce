"""One question under way, between the thread that answers it and the one that waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from ...errors import StreamingVLMError
from ...types import Answer, FrameSpan

TIME_IS_UP = "the time was up"
CANCELLED = "it was cancelled"

_LONGEST_S = 1e9
"""Python can't wait for much longer than this."""


@dataclass(frozen=True)
class Outcome:
    """How a question ended: `answer` with `message` empty or why it is not whole, or why none is.

    `first_token_s` is how long the asker waited for the first token; 0 without a token.
    `frame_id` is of the newest frame; `moments_ns` are stamps of moments long past. `remembered`
    says that question and answer became part of what the stream has in mind.
    """

    answer: Answer | None
    message: str = ""
    first_token_s: float = 0.0
    frame_id: str = ""
    moments_ns: tuple[int, ...] = ()
    remembered: bool = False


class PendingQuestion:
    """Collects an answer piece by piece, until it is whole or nobody wants more of it.

    `on_start`, `on_token` and `on_done` are for the thread that answers: they never raise, and do
    nothing once it is over. Safe between threads.
    """

    def __init__(self, timeout_s: float = 0.0) -> None:
        """Time runs from now on; 0 is as much as it takes."""
        self._began_s = time.monotonic()
        self._timeout_s = min(timeout_s, _LONGEST_S) or None
        self._first_token_s = 0.0
        self._tokens = 0
        self._span = FrameSpan()
        self._pieces: list[str] = []
        self._result: Answer | StreamingVLMError | None = None
        self._ended = ""
        self._changed = threading.Condition()

    @property
    def cancelled(self) -> bool:
        """It is over because it was cancelled."""
        return self._ended == CANCELLED

    def on_start(self, span: FrameSpan) -> bool:
        """Take in what the answer rests on. False if nobody wants it any more."""
        with self._changed:
            self._span = span
            return not self._over()

    def on_token(self, piece: str) -> bool:
        """Take in a token's piece of the answer, perhaps empty. False if nobody wants more."""
        with self._changed:
            if self._over():
                return False
            self._tokens += 1
            if piece:
                self._first_token_s = self._first_token_s or time.monotonic() - self._began_s
                self._pieces.append(piece)
                self._changed.notify_all()
            return True

    def on_done(self, result: Answer | StreamingVLMError) -> None:
        """Take in the whole answer, or why there is none."""
        with self._changed:
            if not self._over():
                self._result = result
                self._changed.notify_all()

    def end(self, why: str) -> None:
        """Want no more of it: what there is so far is the answer."""
        with self._changed:
            if not self._over():
                self._ended = why
                self._changed.notify_all()

    def pieces(self) -> Iterator[str]:
        """Each piece as soon as it is there, until it is over; at the latest when time is up."""
        sent = 0
        while True:
            with self._changed:
                self._changed.wait_for(partial(self._news, sent), self._left_s())
                if not self._over() and self._left_s() == 0.0:
                    self._ended = TIME_IS_UP
                new, over = self._pieces[sent:], self._over()
            yield from new
            sent += len(new)
            if over:
                return

    def outcome(self) -> Outcome:
        """How it ended, once it is over."""
        match self._result:
            case Answer() as answer:
                message = _why_cut(answer)
            case StreamingVLMError() as error:
                return Outcome(None, str(error))
            case _ if not self._pieces:
                return Outcome(None, f"{self._ended} before the answer began")
            case _:
                answer, message = self._so_far(), f"cut off: {self._ended}"
        return Outcome(answer, message, self._first_token_s, self._span.frame_id)

    def _so_far(self) -> Answer:
        text, span = "".join(self._pieces), self._span
        return Answer(text, span.from_ns, span.until_ns, self._tokens, complete=False)

    def _over(self) -> bool:
        return self._result is not None or bool(self._ended)

    def _news(self, sent: int) -> bool:
        return len(self._pieces) > sent or self._over()

    def _left_s(self) -> float | None:
        if self._timeout_s is None:
            return None
        return max(0.0, self._began_s + self._timeout_s - time.monotonic())


def _why_cut(answer: Answer) -> str:
    if answer.complete:
        return ""
    return f"cut off: no more tokens were allowed (max_tokens: {answer.tokens})"
