"""A stream's state beside its cache, and the text and frames of rounds written into it.

Pure functions of the state; the caller then feeds the ledger's new segments to the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..config import Settings
from ..types import NS_PER_S, ChunkPart, Frame, FrameSpan
from .chat_format import ChatFormat
from .ledger import Grid, Kind, Ledger, Segment
from .window import Eviction, cut, evict

_REMEMBERED = (Kind.QUESTION, Kind.ANSWER)


@dataclass(frozen=True)
class State:
    """A stream's state. Immutable, so that a question can keep it at no cost.

    `pending` ends the last round and goes through the model with the next one. `watching` is true
    while a round's frames come in; `steps` are its temporal steps so far. `span_s` is the newest
    round in seconds of stream; `spans_ns` are the oldest and newest stamps of each visible round;
    `frame_id` is of the newest frame. `remembered` are questions and answers that the next round
    will hold; `answers` are those of the round whose frames come in, for its assistant turn.
    """

    ledger: Ledger = Ledger()
    pending: tuple[Segment, ...] = ()
    round: int = 0
    watching: bool = False
    steps: int = 0
    origin_ns: int = 0
    span_s: tuple[float, float] = (0.0, 0.0)
    spans_ns: tuple[tuple[int, int], ...] = ()
    frame_id: str = ""
    remembered: tuple[tuple[str, str], ...] = ()
    answers: tuple[str, ...] = ()

    @property
    def remembered_tokens(self) -> int:
        """Number of tokens of remembered questions and answers in the cache."""
        return sum(len(segment) for segment in self.ledger if segment.kind in _REMEMBERED)

    @property
    def seen(self) -> FrameSpan:
        """The oldest and the newest visible frame."""
        stamps = [stamp for span in self.spans_ns for stamp in span]
        return FrameSpan(min(stamps), max(stamps), self.frame_id) if stamps else FrameSpan()


@dataclass(frozen=True)
class RoundWriter:
    """Writes the rounds of one stream.

    `grid_seconds` is the time between two temporal steps of vision tokens.
    """

    chat_format: ChatFormat
    settings: Settings
    grid_seconds: float

    def evict(self, state: State) -> tuple[State, Eviction]:
        """Evict what is too old for the next round."""
        eviction = evict(state.ledger, state.round, window=self.settings.window)
        pending = state.pending
        if pending and state.round - pending[0].round >= self.settings.window.text_rounds:
            pending = ()
        return replace(state, ledger=eviction.ledger, pending=pending), eviction

    def begin(self, state: State, part: ChunkPart) -> State:
        """Begin a round up to its first frame, with the questions remembered since the last one."""
        origin_ns = state.origin_ns if state.round else part.start_ns
        span_s = ((part.start_ns - origin_ns) / NS_PER_S, (part.end_ns - origin_ns) / NS_PER_S)
        question = " ".join(question for question, _ in state.remembered)
        turn = self.chat_format.round_start(state.round, span_s, question=question)
        return replace(
            state,
            ledger=state.ledger.append([*self._opening(state), *state.pending, *turn]),
            pending=(),
            watching=True,
            steps=0,
            origin_ns=origin_ns,
            span_s=span_s,
            remembered=(),
            answers=tuple(answer for _, answer in state.remembered),
        )

    def see(self, state: State, part: ChunkPart, *, grid: Grid | None) -> State:
        """Append a part's frames as `grid`, and after the last part the end of the turn."""
        if grid:
            state = self._stamped(state, part.frames)
        steps = state.steps + (grid[0] if grid else 0)
        state = replace(state, ledger=self._with_vision(state, grid, ended=part.last), steps=steps)
        if not part.last:
            return state
        instruction = "" if state.round else self.settings.prompt.instruction
        turn = [
            *self.chat_format.round_end(state.round, instruction),
            self.chat_format.answers(state.round, state.answers),
        ]
        return replace(state, ledger=state.ledger.append(turn), watching=False, answers=())

    def end(self, state: State, ids: Sequence[int]) -> State:
        """End a round with the ids of its narration."""
        generated = self.chat_format.split_generated(state.round, ids)
        return replace(
            state,
            ledger=state.ledger.append(generated),
            pending=(self.chat_format.closing(state.round),),
            round=state.round + 1,
        )

    def truncated(self, state: State, ids: Sequence[int] | None) -> State:
        """Return the state for a question asked now, in which a round in progress is cut short.

        `ids` are those of its narration so far; None if no narration is open.
        """
        if state.watching:
            return replace(state, pending=tuple(self.chat_format.truncated_round(state.round)))
        if ids is None:
            return state
        return replace(
            state,
            ledger=state.ledger.append([Segment(Kind.NARRATION, tuple(ids), state.round)]),
            pending=tuple(self.chat_format.truncated_end(state.round)),
        )

    def _opening(self, state: State) -> list[Segment]:
        """Return the segments before the first round; none for a later one."""
        if state.round:
            return []
        previous = self.chat_format.encode(self.settings.prompt.previous_text)
        return self.chat_format.opening(cut(previous, self.settings.window))

    def _with_vision(self, state: State, grid: Grid | None, *, ended: bool) -> Ledger:
        """Return the ledger with a part's vision tokens: the round's block grows part by part."""
        earlier = state.ledger.segments[-1].grid if state.steps else None
        if grid is None and not (earlier and ended):
            return state.ledger
        steps = state.steps + (grid[0] if grid else 0)
        rows, columns = (grid or earlier or (0, 0, 0))[1:]
        block = self.chat_format.vision(
            state.round, (steps, rows, columns), grid_seconds=self.grid_seconds, ended=ended
        )
        return state.ledger.with_last(block) if earlier else state.ledger.append([block])

    def _stamped(self, state: State, frames: Sequence[Frame]) -> State:
        """Update the stamps of the visible rounds."""
        earlier = state.spans_ns[:-1] if state.steps else state.spans_ns
        first_ns = state.spans_ns[-1][0] if state.steps else frames[0].stamp_ns
        spans_ns = (*earlier, (first_ns, frames[-1].stamp_ns))
        return replace(
            state,
            spans_ns=spans_ns[-self.settings.window.vision_rounds :],
            frame_id=frames[-1].frame_id,
        )
