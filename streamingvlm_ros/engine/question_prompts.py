"""Questions as tokens: about a stream, about a few frames, or about moments of the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import ImageError, QuestionError
from ..types import NS_PER_S, Frame, FrameSpan, HistoryMoment, Question
from .budget import Budget
from .ledger import Grid, Segment
from .qwen2_5.vision import VisionSpec, token_grid
from .rounds import State

MAX_CHARS_PER_TOKEN = 64
"""Characters per token, more than any sentence has on average."""


@dataclass(frozen=True)
class Prompt:
    """The segments that are fed for a question, and the maximum length of its answer.

    `frames` are the question's own, in the order of its segments, grouped by grid. A prompt that is
    not `on_stream` sees nothing of the stream's cache.
    """

    segments: tuple[Segment, ...]
    max_tokens: int
    seen: FrameSpan
    on_stream: bool = True
    frames: tuple[tuple[Frame, ...], ...] = ()

    @property
    def slots(self) -> int:
        """Number of slots for the prompt and its longest answer."""
        return len(self.ids) + self.max_tokens

    @property
    def ids(self) -> list[int]:
        """All token ids that are fed, in order."""
        return [id for segment in self.segments for id in segment.ids]


class QuestionPrompts:
    """Builds prompts by one stream's settings."""

    def __init__(self, budget: Budget, spec: VisionSpec, *, grid_seconds: float) -> None:
        """Take `spec`, by which a question's own frames become tokens."""
        self._budget, self._spec, self._grid_seconds = budget, spec, grid_seconds
        self._chat_format, self._asking = budget.chat_format, budget.settings.asking

    def prompt(self, question: Question, state: State) -> Prompt:
        """Return the prompt of a question to a stream in `state`.

        Raises:
            QuestionError: the question can't be asked; the message says why.
        """
        question = replace(question, text=question.text.strip())
        limit = self._checked(question)
        if question.moments:
            return self._from_history(question, limit)
        if question.frames:
            return self._recent(question, limit)
        return self._live(question, limit, state=state)

    def _live(self, question: Question, limit: int, *, state: State) -> Prompt:
        """Build a turn without frames after the newest text."""
        if not state.spans_ns:
            raise QuestionError("nothing has been seen yet: ask again when frames arrive")
        if question.remember:
            self._check_memory(question, limit, state=state)
        turn = self._chat_format.user_turn(state.round, state.span_s, question=question.text)
        return Prompt((*state.pending, *turn), limit, state.seen)

    def _recent(self, question: Question, limit: int) -> Prompt:
        """Build the model's ordinary prompt: frames at full resolution and a question."""
        turn = self._chat_format.plain_frames(self._grid(question.frames), self._grid_seconds)
        turn += self._chat_format.plain_question(question.text)
        return Prompt(tuple(turn), limit, _span(question.frames), False, (question.frames,))

    def _from_history(self, question: Question, limit: int) -> Prompt:
        """Build a separate stream whose rounds are the moments with their narration."""
        chat_format, moments = self._chat_format, question.moments
        # A clock may have been set back between two moments.
        origin_ns = min(moment.start_ns for moment in moments)
        segments = chat_format.opening()
        for round, moment in enumerate(moments):
            grid, times = self._grid([moment.frame]), _times_s(moment, origin_ns)
            segments += chat_format.user_turn(
                round, times, grid=grid, grid_seconds=self._grid_seconds
            )
            segments += chat_format.assistant_turn(round, self._shortened(moment.text))
        times = _times_s(moments[-1], origin_ns)
        segments += chat_format.user_turn(len(moments), times, question=question.text)
        span = _span([moment.frame for moment in moments])
        return Prompt(tuple(segments), limit, span, False, tuple((m.frame,) for m in moments))

    def _checked(self, question: Question) -> int:
        """Check a question; return the maximum number of tokens of its answer."""
        asking = self._asking
        if not question.text:
            raise QuestionError("the question is empty")
        if any("\ud800" <= character <= "\udfff" for character in question.text):
            raise QuestionError("the question is no valid Unicode text: it holds surrogates")
        if question.remember and (question.frames or question.moments):
            raise QuestionError("only a question about the stream itself can be remembered in it")
        if self._is_longer(question.text, asking.max_question_tokens):
            raise QuestionError(
                f"the question has more than {asking.max_question_tokens} tokens "
                "(max_question_tokens): ask a shorter one"
            )
        limit = asking.max_answer_tokens if question.max_tokens is None else question.max_tokens
        if not 1 <= limit <= asking.max_answer_tokens:
            raise QuestionError(
                f"max_tokens must be between 1 and {asking.max_answer_tokens} (max_answer_tokens)"
            )
        return limit

    def _is_longer(self, text: str, limit: int) -> bool:
        """True if `text` exceeds `limit` tokens.

        Very long text is rejected by length alone, so that tokenising never delays the narration.
        """
        return (
            len(text) > limit * MAX_CHARS_PER_TOKEN
            or len(self._chat_format.encode(" " + text)) > limit
        )

    def _check_memory(self, question: Question, limit: int, *, state: State) -> None:
        """Check that there is room to remember the longest answer."""
        waiting = [*state.answers, *(text for pair in state.remembered for text in pair)]
        texts = [*waiting, question.text]
        needed = sum(len(self._chat_format.encode(" " + text)) + 1 for text in texts) + limit + 1
        if state.remembered_tokens + needed > self._budget.remembered:
            raise QuestionError(
                "the stream remembers as many questions as it can: ask again when those have left "
                "its window, with a smaller max_tokens, or without remember"
            )

    def _shortened(self, text: str) -> str:
        """Cut a past narration to the maximum length of one round's."""
        ids = self._chat_format.encode(text)[: self._budget.settings.sampling.max_new_tokens]
        return self._chat_format.decode(ids)

    def _grid(self, frames: Sequence[Frame]) -> Grid:
        try:
            return token_grid([frame.image for frame in frames], self._spec)
        except ImageError as error:
            raise QuestionError(f"the question's frames can't be seen: {error}") from error


def _span(frames: Sequence[Frame]) -> FrameSpan:
    newest = max(frames, key=lambda frame: frame.stamp_ns)
    return FrameSpan(min(frame.stamp_ns for frame in frames), newest.stamp_ns, newest.frame_id)


def _times_s(moment: HistoryMoment, origin_ns: int) -> tuple[float, float]:
    return (moment.start_ns - origin_ns) / NS_PER_S, (moment.end_ns - origin_ns) / NS_PER_S
