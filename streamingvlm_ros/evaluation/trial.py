"""One model, one recording: what it says, what it answers, and how long that takes."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..engine.engine import StreamingEngine
from ..engine.memory import forget_peak, peak_mb
from ..errors import QuestionError, StreamingVLMError
from ..history.config import HistoryConfig
from ..history.entry import Entry
from ..history.store import History
from ..recordings.annotations import Utterance
from ..recordings.questions import TimedQuestion
from ..session import Event, Sink, run
from ..types import NS_PER_S, Answer, Ask, Chunk, Frame, Narration, Question

NOTHING_SEEN = QuestionError("nothing was seen yet that it could rest on")


@dataclass(frozen=True, slots=True)
class Answered:
    """A question, and what was said to it; `answer` is empty, and `error` why, if nothing was."""

    asked: TimedQuestion
    mode: str
    answer: str
    error: str
    first_token_s: float | None

    @property
    def right(self) -> bool:
        """Whether this is the true answer."""
        return self.asked.is_answered_by(self.answer)


@dataclass
class TrialRecord:
    """Filled while `events` is iterated by a session whose sink is `hear`."""

    said: list[Utterance] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    round_s: list[float] = field(default_factory=list)
    """Wall time of each round: from its frames to its narration."""
    memory_mb: float = 0.0
    """Most that was held: of the GPU's memory, or without one of this process's."""


def run_trial(
    engine: StreamingEngine,
    events: Iterable[Event],
    start_ns: int,
    questions: Sequence[TimedQuestion],
    modes: Sequence[str],
    advance: Sink,
) -> TrialRecord:
    """Stream the events once. A question is asked in each mode when all before its time was seen.

    `advance` is told of every narration.
    """
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder), HistoryConfig())
        try:
            examiner = _Examiner(engine, history, start_ns, deque(questions), modes)
            forget_peak(engine.device)
            with engine.open_stream() as stream:
                run(examiner.events(events), stream, [examiner.hear, advance])
            examiner.observed.memory_mb = peak_mb(engine.device)
        finally:
            history.close()
    return examiner.observed


class _Examiner:
    """Puts questions among the chunks, and writes down what it hears."""

    def __init__(
        self,
        engine: StreamingEngine,
        history: History,
        start_ns: int,
        questions: deque[TimedQuestion],
        modes: Sequence[str],
    ) -> None:
        self._asking, self._history, self._start_ns = engine.settings.asking, history, start_ns
        self._questions, self._modes = questions, modes
        self._newest: deque[Frame] = deque(maxlen=self._asking.recent_frames)
        self._began_s = 0.0
        self.observed = TrialRecord()

    def events(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events, and before each chunk the questions about what was before its end."""
        for event in events:
            if not isinstance(event, Chunk):
                self._newest.clear()
            else:
                yield from self._due(self._since_s(event.end_ns))
                self._newest.extend(event.frames)
                self._began_s = time.perf_counter()
            yield event
        yield from self._due(float("inf"))

    def hear(self, chunk: Chunk, narration: Narration) -> None:
        """Write down a narration, and keep it for questions of long ago."""
        self.observed.round_s.append(time.perf_counter() - self._began_s)
        start_s, end_s = self._since_s(narration.start_ns), self._since_s(narration.end_ns)
        self.observed.said.append(Utterance(start_s, end_s, narration.text))
        if self._questions and "history" in self._modes:
            entry = Entry(narration.text, narration.start_ns, narration.end_ns)
            self._history.add(entry, chunk.frames[-1])

    def _due(self, until_s: float) -> Iterator[Event]:
        while self._questions and self._questions[0].time_s < until_s:
            asked = self._questions.popleft()
            for mode in self._modes:
                yield from self._asked(asked, mode)

    def _asked(self, asked: TimedQuestion, mode: str) -> Iterator[Event]:
        began_s = time.perf_counter()
        token_s: list[float] = []
        outcomes: list[Answer | StreamingVLMError] = []

        def on_token(piece: str) -> bool:
            token_s.append(time.perf_counter() - began_s)
            return True

        question = self._question(asked, mode)
        if question:
            yield [Ask(question, outcomes.append, on_token)]
        answer = outcomes[0] if question else NOTHING_SEEN
        said, error = (answer.text, "") if isinstance(answer, Answer) else ("", str(answer))
        first_s = token_s[0] if token_s else None
        self.observed.answers.append(Answered(asked, mode, said, error, first_s))

    def _question(self, asked: TimedQuestion, mode: str) -> Question | None:
        """None if there is nothing yet that an answer could rest on."""
        if mode == "recent":
            frames = tuple(self._newest)
            return Question(asked.prompt, frames=frames) if frames else None
        if mode == "history":
            self._history.flush()
            moments = self._history.moments(asked.question, self._asking.history_moments)
            return Question(asked.prompt, moments=tuple(moments)) if moments else None
        return Question(asked.prompt)

    def _since_s(self, stamp_ns: int) -> float:
        return (stamp_ns - self._start_ns) / NS_PER_S
