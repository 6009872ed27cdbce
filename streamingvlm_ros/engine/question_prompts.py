"""Questions as tokens: asked of a stream, of a few frames alone, or of moments of long ago."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import QuestionError
from ..types import NS_PER_S, Frame, Moment, Question
from .ledger import Grid, Segment
from .qwen2_5.vision import token_grid
from .state import State

if TYPE_CHECKING:
    from .engine import StreamingEngine


LONG_TOKEN = 64
"""Characters of a token that is longer than any sentence has on average."""


@dataclass(frozen=True)
class Prompt:
    """What is fed for a question, and how far the answer may go.

    `frames` are its own, in the order of its segments; those of one grid are together. One that
    is not `on_stream` sees nothing of the stream's cache.
    """

    segments: tuple[Segment, ...]
    max_tokens: int
    seen_ns: tuple[int, int]
    on_stream: bool = True
    frames: tuple[tuple[Frame, ...], ...] = ()

    @property
    def slots(self) -> int:
        """Slots that the prompt and the longest answer to it take."""
        return len(self.ids) + self.max_tokens

    @property
    def ids(self) -> list[int]:
        """Every token id that is fed, in order."""
        return [id for segment in self.segments for id in segment.ids]


def prompt_of(question: Question, engine: StreamingEngine, state: State) -> Prompt:
    """What is fed for a question now. QuestionError if it can't be asked."""
    question = replace(question, text=question.text.strip())
    limit = _checked(question, engine)
    if question.moments:
        return _long_ago(question, limit, engine)
    if question.frames:
        return _recent(question, limit, engine)
    return _live(question, limit, engine, state)


def _live(question: Question, limit: int, engine: StreamingEngine, state: State) -> Prompt:
    """A turn without frames after what was said last."""
    if not state.spans_ns:
        raise QuestionError("nothing has been seen yet: ask again when frames arrive")
    if question.remember:
        _check_memory(question, limit, engine, state)
    turn = engine.chat_format.user_turn(state.round, *state.span_s, question=question.text)
    pending = [state.pending] if state.pending else []
    return Prompt((*pending, *turn), limit, state.seen_ns)


def _recent(question: Question, limit: int, engine: StreamingEngine) -> Prompt:
    """The model's ordinary prompt: frames at full resolution and a question."""
    grid = _grid(question.frames, engine)
    turn = engine.chat_format.plain_frames(grid, engine.grid_seconds)
    turn += engine.chat_format.plain_question(question.text)
    span = _span(question.frames)
    return Prompt(tuple(turn), limit, span, False, (question.frames,))


def _long_ago(question: Question, limit: int, engine: StreamingEngine) -> Prompt:
    """A stream of its own, whose rounds are moments and what was said in them."""
    chat_format, moments = engine.chat_format, question.moments
    # A clock may have been set back from one to the next.
    origin_ns = min(moment.start_ns for moment in moments)
    segments = chat_format.opening()
    for round, moment in enumerate(moments):
        grid, times = _grid([moment.frame], engine), _times_s(moment, origin_ns)
        segments += chat_format.user_turn(
            round, *times, grid=grid, grid_seconds=engine.grid_seconds
        )
        segments += chat_format.assistant_turn(round, engine.shortened(moment.text))
    times = _times_s(moments[-1], origin_ns)
    segments += chat_format.user_turn(len(moments), *times, question=question.text)
    span = _span([moment.frame for moment in moments])
    return Prompt(tuple(segments), limit, span, False, tuple((m.frame,) for m in moments))


def _checked(question: Question, engine: StreamingEngine) -> int:
    """The most tokens of the answer."""
    asking = engine.settings.asking
    if not question.text:
        raise QuestionError("the question is empty")
    if question.remember and (question.frames or question.moments):
        raise QuestionError("only a question about the stream itself can be remembered in it")
    if _is_longer(question.text, asking.max_question_tokens, engine):
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


def _is_longer(text: str, most: int, engine: StreamingEngine) -> bool:
    """Whether it has more than so many tokens. Not counted in megabytes: narration would wait."""
    return len(text) > most * LONG_TOKEN or len(engine.chat_format.encode(" " + text)) > most


def _check_memory(question: Question, limit: int, engine: StreamingEngine, state: State) -> None:
    """There must be room for the longest answer: what is remembered is bounded, as all else is."""
    waiting = [text for pair in state.asked for text in pair]
    texts = [*waiting, question.text]
    needed = sum(len(engine.chat_format.encode(" " + text)) + 1 for text in texts) + limit + 1
    if state.remembered_tokens + needed > engine.remembered_bound:
        raise QuestionError(
            "the stream remembers as many questions as it can: ask again when those have left its "
            "window, with a smaller max_tokens, or without remember"
        )


def _grid(frames: Sequence[Frame], engine: StreamingEngine) -> Grid:
    return token_grid([frame.image for frame in frames], engine.question_spec)


def _span(frames: Sequence[Frame]) -> tuple[int, int]:
    stamps = [frame.stamp_ns for frame in frames]
    return min(stamps), max(stamps)


def _times_s(moment: Moment, origin_ns: int) -> tuple[float, float]:
    return (moment.start_ns - origin_ns) / NS_PER_S, (moment.end_ns - origin_ns) / NS_PER_S
