"""Questions as tokens: asked of a stream, of a few frames alone, or of moments of long ago."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torch import Tensor, cat

from ..errors import QuestionError
from ..types import NS_PER_S, Frame, Moment, Question
from .ledger import Segment
from .state import State

if TYPE_CHECKING:
    from .engine import StreamingEngine


@dataclass(frozen=True)
class Prompt:
    """What is fed for a question, and how far the answer may go.

    `seen` are the vision tokens of its own frames, in the order of its segments. One that is not
    `on_stream` sees nothing of the stream's cache.
    """

    question: Question
    segments: tuple[Segment, ...]
    max_tokens: int
    seen_ns: tuple[int, int]
    on_stream: bool = True
    seen: Tensor | None = field(default=None, repr=False)

    def __len__(self) -> int:
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
    turn = engine.dialogue.user_turn(state.round, *state.span_s, question=question.text)
    pending = [state.pending] if state.pending else []
    return Prompt(question, (*pending, *turn), limit, state.seen_ns)


def _recent(question: Question, limit: int, engine: StreamingEngine) -> Prompt:
    """The model's ordinary prompt: frames at full resolution and a question."""
    seen, grid = engine.look(question.frames, engine.question_spec)
    turn = engine.dialogue.plain_frames(grid, engine.grid_seconds)
    turn += engine.dialogue.plain_question(question.text)
    return Prompt(question, tuple(turn), limit, _span(question.frames), False, seen)


def _long_ago(question: Question, limit: int, engine: StreamingEngine) -> Prompt:
    """A stream of its own, whose rounds are moments and what was said in them."""
    dialogue, origin_ns = engine.dialogue, question.moments[0].start_ns
    segments, seen = dialogue.opening(), []
    for round, moment in enumerate(question.moments):
        tokens, grid = engine.look([moment.frame], engine.question_spec)
        seen.append(tokens)
        times = _times_s(moment, origin_ns)
        segments += dialogue.user_turn(round, *times, grid=grid, grid_seconds=engine.grid_seconds)
        segments += dialogue.assistant_turn(round, engine.shortened(moment.text))
    segments += dialogue.user_turn(len(seen), *times, question=question.text)
    span = _span([moment.frame for moment in question.moments])
    return Prompt(question, tuple(segments), limit, span, False, cat(seen))


def _checked(question: Question, engine: StreamingEngine) -> int:
    """The most tokens of the answer."""
    asking = engine.settings.asking
    if not question.text:
        raise QuestionError("the question is empty")
    if question.remember and (question.frames or question.moments):
        raise QuestionError("only a question about the stream itself can be remembered in it")
    length = len(engine.dialogue.encode(" " + question.text))
    if length > asking.max_question_tokens:
        raise QuestionError(
            f"the question has {length} tokens; at most {asking.max_question_tokens} are "
            "taken (max_question_tokens): ask a shorter one"
        )
    limit = asking.max_answer_tokens if question.max_tokens is None else question.max_tokens
    if not 1 <= limit <= asking.max_answer_tokens:
        raise QuestionError(
            f"max_tokens must be between 1 and {asking.max_answer_tokens} (max_answer_tokens)"
        )
    return limit


def _check_memory(question: Question, limit: int, engine: StreamingEngine, state: State) -> None:
    """There must be room for the longest answer: what is remembered is bounded, as all else is."""
    waiting = [text for pair in state.asked for text in pair]
    texts = [*waiting, question.text]
    needed = sum(len(engine.dialogue.encode(" " + text)) + 1 for text in texts) + limit + 1
    if state.remembered_tokens + needed > engine.remembered_bound:
        raise QuestionError(
            "the stream remembers as many questions as it can: ask again when those have left its "
            "window, with a smaller max_tokens, or without remember"
        )


def _span(frames: Sequence[Frame]) -> tuple[int, int]:
    stamps = [frame.stamp_ns for frame in frames]
    return min(stamps), max(stamps)


def _times_s(moment: Moment, origin_ns: int) -> tuple[float, float]:
    return (moment.start_ns - origin_ns) / NS_PER_S, (moment.end_ns - origin_ns) / NS_PER_S
