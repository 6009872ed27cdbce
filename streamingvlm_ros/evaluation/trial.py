"""A trial: one model on one recording, with its questions asked while it is streamed."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..engine.engine import StreamingEngine
from ..engine.memory import peak_mb, reset_peak
from ..errors import QuestionError, StreamingVLMError
from ..history.config import HistoryConfig
from ..history.store import History
from ..history.types import Entry
from ..recordings.annotations import Utterance
from ..session import Event, Sink, run
from ..types import NS_PER_S, Answer, Ask, Chunk, Frame, Narration, Question
from .candidate import Candidate
from .items import Item, ScoredQuestion
from .results import ORIGINAL, OWN_SUITE, AnswerRecord, Request

_NO_FRAMES_YET = QuestionError("no frames have been seen yet")


@dataclass(frozen=True)
class Trial:
    """One candidate, one item, one control: made in one run and saved as one file."""

    item: Item
    candidate: Candidate
    control: str = ORIGINAL
    modes: tuple[str, ...] = ("stream",)
    suite: str = OWN_SUITE

    @cached_property
    def request(self) -> Request:
        """Everything that the results depend on, with label files as of the first use."""
        labels = self.item.labels.fingerprints()
        return Request(
            item=self.item.name,
            recording=str(self.item.recording),
            camera=self.item.camera,
            reference=labels.reference,
            questions=labels.questions,
            model=self.candidate.label,
            settings=self.candidate.settings.flat(),
            control=self.control,
            modes=self.modes,
            suite=self.suite,
        )


@dataclass
class TrialRecord:
    """Narrations, answers and figures of a trial, not yet scored."""

    narrations: list[Utterance] = field(default_factory=list)
    answers: list[AnswerRecord] = field(default_factory=list)
    round_s: list[float] = field(default_factory=list)
    """Wall time of each round, from its frames to its narration."""
    memory_mb: float = 0.0
    """Peak memory of the GPU, or of this process if there is no GPU."""


def run_trial(
    engine: StreamingEngine,
    events: Iterable[Event],
    *,
    start_ns: int,
    questions: Sequence[ScoredQuestion],
    modes: Sequence[str],
    on_narration: Sink,
) -> TrialRecord:
    """Stream the events once.

    A question is asked, in each mode, when every chunk that ends by its time has been seen.
    """
    with _history(needed=bool(questions) and "history" in modes) as history:
        trial = _Streaming(engine, history, start_ns=start_ns, questions=questions, modes=modes)
        reset_peak(engine.device)
        with engine.open_stream() as stream:
            run(trial.events(events), stream, sinks=[trial.on_narration, on_narration])
        trial.record.memory_mb = peak_mb(engine.device)
    return trial.record


@contextmanager
def _history(*, needed: bool) -> Iterator[History | None]:
    """Open a temporary history, which has a database and a thread, only if it is needed."""
    if not needed:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder), HistoryConfig())
        try:
            yield history
        finally:
            history.close()


class _Streaming:
    """Puts questions between the chunks, and records narrations and answers."""

    def __init__(
        self,
        engine: StreamingEngine,
        history: History | None,
        *,
        start_ns: int,
        questions: Sequence[ScoredQuestion],
        modes: Sequence[str],
    ) -> None:
        self._asking, self._history, self._start_ns = engine.settings.asking, history, start_ns
        self._questions, self._modes = deque(questions), modes
        self._newest_frames: deque[Frame] = deque(maxlen=self._asking.recent_frames)
        self._round_start_s = 0.0
        self.record = TrialRecord()

    def events(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield the events, with each question before the chunk that ends after its time."""
        for event in events:
            if not isinstance(event, Chunk):
                self._newest_frames.clear()
            else:
                yield from self._due(self._seconds(event.end_ns))
                self._remember(event.frames)
                self._round_start_s = time.perf_counter()
            yield event
        yield from self._due(float("inf"))

    def _remember(self, frames: Sequence[Frame]) -> None:
        """Keep the newest frames, all of one size, as the live node does."""
        newest = self._newest_frames
        if newest and newest[-1].image.shape != frames[0].image.shape:
            newest.clear()
        newest.extend(frames)

    def on_narration(self, chunk: Chunk, narration: Narration) -> None:
        """Record a narration, and store it for later questions in mode `history`."""
        self.record.round_s.append(time.perf_counter() - self._round_start_s)
        start_s, end_s = self._seconds(narration.start_ns), self._seconds(narration.end_ns)
        self.record.narrations.append(Utterance(start_s, end_s, narration.text))
        if self._history and self._questions:
            entry = Entry(narration.text, narration.start_ns, narration.end_ns)
            self._history.add(entry, chunk.frames[-1])

    def _due(self, until_s: float) -> Iterator[Event]:
        while self._questions and self._questions[0].question.time_s < until_s:
            question = self._questions.popleft()
            for mode in self._modes:
                yield from self._ask(question, mode)

    def _ask(self, scored: ScoredQuestion, mode: str) -> Iterator[Event]:
        """Yield the question as an event. The answer has arrived when the iteration resumes."""
        asked_at_s = time.perf_counter()
        token_s: list[float] = []
        outcomes: list[Answer | StreamingVLMError] = []

        def on_token(text: str) -> bool:
            token_s.append(time.perf_counter() - asked_at_s)
            return True

        question = self._question(scored, mode)
        if question:
            yield [Ask(question, outcomes.append, on_token)]
        outcome = outcomes[0] if question else _NO_FRAMES_YET
        first_s = token_s[0] if token_s else None
        self.record.answers.append(
            _answer_record(scored, mode, outcome=outcome, first_token_s=first_s)
        )

    def _question(self, scored: ScoredQuestion, mode: str) -> Question | None:
        """Return the question in a mode, None if there is nothing yet to answer it from."""
        if mode == "recent":
            frames = tuple(self._newest_frames)
            return Question(scored.prompt, frames=frames) if frames else None
        if mode == "history":
            assert self._history, "opened for every trial with questions in this mode"
            self._history.flush()
            query, limit = scored.question.question, self._asking.history_moments
            moments = self._history.moments(query, limit)
            return Question(scored.prompt, moments=tuple(moments)) if moments else None
        return Question(scored.prompt)

    def _seconds(self, stamp_ns: int) -> float:
        return (stamp_ns - self._start_ns) / NS_PER_S


def _answer_record(
    scored: ScoredQuestion,
    mode: str,
    *,
    outcome: Answer | StreamingVLMError,
    first_token_s: float | None,
) -> AnswerRecord:
    if isinstance(outcome, Answer):
        answer, error = outcome.text, ""
        score = scored.scorer(scored.question, answer)
    else:
        answer, error, score = "", str(outcome), 0.0
    return AnswerRecord(scored.question, mode, answer, error, first_token_s, score, scored.task)
