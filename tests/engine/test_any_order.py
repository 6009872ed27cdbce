"""Streams and questions in any order: each stream behaves as it would alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import LoadedModel
from streamingvlm_ros.engine.stream import Stream
from streamingvlm_ros.errors import QuestionError, StreamingVLMError
from streamingvlm_ros.types import Answer, Ask, ChunkPart, HistoryMoment, Narration, Question

from .conftest import SMALL, cached, chunk_of

STREAMS = 3
FPS = 4.0
SIZES = [(28, 28), (56, 56), (56, 84), (112, 140), (60, 50)]
KINDS = [
    {"vision_rounds": 2, "text_rounds": 3, "text_window": 8},
    {"vision_rounds": 3, "text_rounds": 2, "temperature": 0.9, "seed": 5},
    {"repetition_penalty": 1.3, "previous_text": "the ball stops ", "max_new_tokens": 3},
]
PATIENT = 99
EXAMPLES = int(os.environ.get("ANY_ORDER_EXAMPLES", "25"))


def settings_of(kind: int) -> Settings:
    return Settings().updated(
        SMALL
        | {"fps": FPS, "vision_rounds": 2, "text_rounds": 2}
        | {"recent_frames": 4, "history_moments": 3, "question_frame_tokens": 6}
        | {"questions_at_once": 2, "max_answer_tokens": 24, "max_question_tokens": 12}
        | KINDS[kind]
    )


@cache
def parts_of(described: tuple[int, int, int, tuple[int, ...]]) -> list[ChunkPart]:
    """Return a chunk of noise, cut into parts. `described`: round, size, number of frames, cuts."""
    round, size, frames, cuts = described
    chunk = chunk_of(round, frames=frames, fps=FPS, size=SIZES[size])
    ends = [*cuts, frames]
    return [
        ChunkPart(chunk.frames[a:b], chunk.start_ns, chunk.end_ns, last=n == len(ends) - 1)
        for n, (a, b) in enumerate(pairwise([0, *ends]))
    ]


@dataclass(eq=False)
class Watched:
    """A stream, and its history since the last reset."""

    stream: Stream
    open_alone: Callable[[], Stream]
    chunks: list[tuple[int, int, int, tuple[int, ...]]] = field(default_factory=list)
    """Chunks begun: see `parts_of`."""
    waiting: list[ChunkPart] = field(default_factory=list)
    """Parts of the newest chunk that are not yet fed."""
    narrations: list[Narration] = field(default_factory=list)
    expected: list[Narration] = field(default_factory=list)
    remembers: bool = False

    def __post_init__(self) -> None:
        self.start_again()

    def start_again(self) -> None:
        self.chunks, self.waiting, self.narrations, self.expected = [], [], [], []
        self.remembers, self.alone = False, self.open_alone()

    def catch_up(self) -> Stream:
        """Return the same stream on an engine of its own, with the same input."""
        for chunk in self.chunks[len(self.expected) :]:
            for part in parts_of(chunk):
                self.alone.engine.see([(self.alone, part)])
            self.alone.engine.finish(self.alone)
            self.expected += [round.narration for round in self.alone.engine.take_rounds()]
        return self.alone


@dataclass(eq=False)
class Asked:
    """A question and its outcome."""

    watched: Watched
    question: Question
    patience: int
    raises: str
    outcomes: list[Answer | StreamingVLMError] = field(default_factory=list)
    started: int = 0
    pieces: list[str] = field(default_factory=list)
    expected: Answer | StreamingVLMError | None = None
    closed: bool = False

    def on_start(self, _: object) -> bool:
        self.started += 1
        self._raise("on_start")
        return self.patience > 0

    def on_token(self, piece: str) -> bool:
        assert not self.outcomes
        self.pieces.append(piece)
        if len(self.pieces) > 1:
            self._raise("on_token")
        return len(self.pieces) < self.patience

    def on_done(self, outcome: Answer | StreamingVLMError) -> None:
        self.outcomes.append(outcome)
        self._raise("on_done")

    def _raise(self, where: str) -> None:
        if where == self.raises:
            raise GoneError(where)


class GoneError(Exception):
    """The error that a listener raises."""


class AnyOrder(RuleBasedStateMachine):
    """An engine, with a model of each of its streams."""

    def __init__(self, loaded: LoadedModel, on_device: bool) -> None:
        super().__init__()
        self.loaded = loaded
        self.engine = StreamingEngine(
            loaded, settings_of(0), max_streams=STREAMS, on_device=on_device
        )
        self.open: list[Watched] = []
        self.asked: list[Asked] = []
        for kind in (0, 1):
            self.open_stream(kind)

    # --- actions ---

    @precondition(lambda self: len(self.open) < STREAMS)
    @rule(kind=st.integers(0, len(KINDS) - 1))
    def open_stream(self, kind: int) -> None:
        def open_alone() -> Stream:
            return StreamingEngine(self.loaded, settings_of(kind)).open_stream()

        self.open.append(Watched(self.engine.open_stream(settings_of(kind)), open_alone))

    @precondition(lambda self: self.open)
    @rule(number=st.integers(0, STREAMS - 1), closes=st.booleans())
    def end(self, number: int, closes: bool) -> None:
        self.close_stream(number) if closes else self.reset_stream(number)

    def close_stream(self, number: int) -> None:
        watched = self.open.pop(number % len(self.open))
        for asked in self.asked:
            asked.closed |= asked.watched is watched
        self._may_raise(watched.stream.close)

    def reset_stream(self, number: int) -> None:
        watched = self.open[number % len(self.open)]
        for asked in self.asked:
            if asked.watched is watched and not asked.started:
                asked.expected = None  # The question is about the context that was cleared.
        # An exception in a listener stops a reset before it has begun.
        while not self._may_raise(watched.stream.reset):
            pass
        self._take_rounds(forgotten=watched)
        watched.start_again()

    @rule(
        numbers=st.sets(st.integers(0, STREAMS - 1), min_size=1),
        sizes=st.lists(st.integers(0, len(SIZES) - 1), min_size=1, max_size=4),
        asks=st.booleans(),
    )
    def step(self, numbers: set[int], sizes: list[int], *, asks: bool) -> None:
        """Feed whole chunks to the ready streams, possibly while a question is open."""
        if asks and self.open:
            self.ask(
                min(numbers), "stream", text="what?", max_tokens=None, patience=PATIENT, raises=""
            )
            self.advance(1)
        for size in sizes:
            ready = {n for n in range(len(self.open)) if self.open[n].stream.ready}
            ready = {n for n in ready & numbers if not self.open[n].waiting}
            self.see(ready, size, frames=4, cuts=())
            while any(not self.open[n].stream.ready for n in ready):
                self.advance(1)
            self.no_two_share_a_slot()

    @rule(
        numbers=st.sets(st.integers(0, STREAMS - 1), min_size=1),
        size=st.integers(0, len(SIZES) - 1),
        frames=st.integers(1, 4),
        cuts=st.sampled_from([(), (), (2,), (4,), (2, 4)]),
    )
    def see(self, numbers: set[int], size: int, *, frames: int, cuts: tuple[int, ...]) -> None:
        """Feed the next part to some streams, or that of a new chunk after a complete one."""
        seeing: list[Watched] = []
        # An exception in a listener stops it before anything was fed.
        for number in sorted(numbers):
            if number >= len(self.open) or not self.open[number].stream.ready:
                continue
            watched = self.open[number]
            if not watched.waiting:
                cut = tuple(c for c in cuts if c <= frames)
                chunk = (len(watched.chunks), size, frames, cut)
                watched.chunks.append(chunk)
                watched.waiting = list(parts_of(chunk))
            seeing.append(watched)
        parts = [(w.stream, w.waiting[0]) for w in seeing]
        while not self._may_raise(partial(self.engine.see, parts)):
            pass
        for watched in seeing:
            watched.waiting.pop(0)
        self._take_rounds()

    @rule(passes=st.integers(1, 8))
    def advance(self, passes: int) -> None:
        for _ in range(passes):
            self._may_raise(self.engine.advance)
        self._take_rounds()

    @precondition(lambda self: self.open)
    @rule(number=st.integers(0, STREAMS - 1))
    def finish(self, number: int) -> None:
        stream = self.open[number % len(self.open)].stream
        while not self._may_raise(partial(self.engine.finish, stream)):
            pass
        self._take_rounds()

    @precondition(lambda self: self.open)
    @rule(
        number=st.integers(0, STREAMS - 1),
        kind=st.sampled_from([*["stream"] * 6, "recent", "recent", "moments", "remember", "bad"]),
        text=st.sampled_from(["what?", "where is it now?", "z z z"]),
        max_tokens=st.sampled_from([None, None, None, 1, 5]),
        patience=st.sampled_from([*[PATIENT] * 6, 0, 1, 3]),
        raises=st.sampled_from([*[""] * 6, "on_start", "on_token", "on_done"]),
    )
    def ask(
        self,
        number: int,
        kind: str,
        *,
        text: str,
        max_tokens: int | None,
        patience: int,
        raises: str,
    ) -> None:
        watched = self.open[number % len(self.open)]
        chunk = chunk_of(7, frames=2, size=(28, 56))
        question = Question(
            "z " * 99 if kind == "bad" else text,
            max_tokens,
            remember=kind == "remember",
            frames=chunk.frames if kind == "recent" else (),
            moments=(HistoryMoment(chunk.frames[0], 0, 9, "a ball"),) * 2
            if kind == "moments"
            else (),
        )
        asked = Asked(watched, question, patience, raises)
        watched.remembers |= kind == "remember"
        if not self.engine._questions.waiting and len(self.engine._questions.open) < 2:
            asked.expected = self._answered_alone(watched, question)
        self.asked.append(asked)
        self.engine.ask(
            watched.stream, Ask(question, asked.on_done, asked.on_token, asked.on_start)
        )

    # --- invariants ---

    @invariant()
    def every_listener_is_called_once_at_the_end(self) -> None:
        waiting = [ask for _, ask in self.engine._questions.waiting]
        waiting += [answering.ask for answering in self.engine._questions.open]
        under_way = {ask.on_done.__self__ for ask in waiting}  # type: ignore[attr-defined]
        for asked in self.asked:
            assert len(asked.outcomes) == (asked not in under_way)
            assert asked.started <= 1
            if asked.outcomes:
                self._check_outcome(asked)
        self.asked = [asked for asked in self.asked if asked in under_way]

    @invariant()
    def no_two_share_a_slot(self) -> None:
        engine, runner = self.engine, self.engine.runner
        taken = [
            (start, start + w.stream.capacity)
            for w in self.open
            if w.stream.capacity
            for start in w.stream.regions
        ]
        for answering in engine._questions.open:
            place = runner.place(answering.turn.row)
            assert place.end - place.start <= answering.prompt.slots
            assert place.start == answering.start
            taken.append((answering.start, answering.start + answering.prompt.slots))
            assert taken[-1][1] <= engine._room
        taken.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(taken))
        assert not taken or taken[-1][1] <= runner.cache.slots
        for watched in self.open:
            place = runner.place(watched.stream.row)
            assert place.end - place.start <= watched.stream.capacity
            assert place.start in watched.stream.regions

    @invariant()
    def slots_that_an_answer_reads_are_not_written(self) -> None:
        for answering in self.engine._questions.open:
            start, end = self.engine.runner.place(answering.turn.row).shared
            if start == end:
                continue
            stream = answering.stream
            place = self.engine.runner.place(stream.row)
            assert start in stream.regions
            assert start != place.start or end <= place.end

    @invariant()
    def an_idle_streams_cache_matches_its_ledger(self) -> None:
        for watched in self.open:
            if watched.stream.ready:
                assert watched.stream.cached_tokens == len(watched.stream.ledger)

    @invariant()
    def streams_narrate_as_they_would_alone(self) -> None:
        for watched in self.open:
            if watched.remembers or watched.waiting or not watched.stream.ready:
                continue
            alone = watched.catch_up()
            assert watched.narrations == watched.expected
            for mine, theirs in zip(cached(watched.stream), cached(alone), strict=True):
                assert mine.shape == theirs.shape
                assert not mine.numel() or (mine - theirs).abs().max() < 1e-4  # of about 4

    def teardown(self) -> None:
        while self.engine.busy:
            self._may_raise(self.engine.advance)
        self._take_rounds()
        for check in (
            self.every_listener_is_called_once_at_the_end,
            self.no_two_share_a_slot,
            self.an_idle_streams_cache_matches_its_ledger,
            self.streams_narrate_as_they_would_alone,
        ):
            check()
        assert not self.asked
        assert not self.engine._questions._slots._taken
        assert len(self.engine._regions._taken) == 2 * sum(w.stream.capacity > 0 for w in self.open)

    # --- helpers ---

    def _may_raise(self, call: Callable[[], Any]) -> bool:
        try:
            call()
        except GoneError:
            return False
        return True

    def _take_rounds(self, *, forgotten: Watched | None = None) -> None:
        of = {watched.stream: watched for watched in self.open}
        for round in self.engine.take_rounds():
            if round.stream in of and of[round.stream] is not forgotten:
                of[round.stream].narrations.append(round.narration)
                assert len(round.chunk.frames) == round.narration.frames

    def _check_outcome(self, asked: Asked) -> None:
        outcome = asked.outcomes[0]
        if isinstance(outcome, Answer):
            if outcome.complete:
                assert "".join(asked.pieces) == outcome.text
            assert outcome.tokens <= min(asked.patience, asked.question.max_tokens or 24)
        else:
            assert isinstance(outcome, QuestionError)
        if asked.closed or asked.raises in ("on_start", "on_token"):
            return
        if isinstance(asked.expected, Answer) and asked.patience == PATIENT:
            assert outcome == asked.expected
        if isinstance(asked.expected, StreamingVLMError):
            assert str(outcome) == str(asked.expected)

    def _answered_alone(self, watched: Watched, question: Question) -> Any:
        """Return the answer at this state by an engine of its own; None if its state differs."""
        if watched.remembers or watched.waiting or not watched.stream.ready:
            return None
        try:
            return watched.catch_up().ask(question)
        except QuestionError as error:
            return error


@pytest.mark.parametrize("on_device", [False, True], ids=["host", "device"])
def test_any_order(loaded: LoadedModel, on_device: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR")  # The frames grow again and again.
    run_state_machine_as_test(
        lambda: AnyOrder(loaded, on_device),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            derandomize=EXAMPLES <= 25,
            suppress_health_check=list(HealthCheck),
        ),
    )
