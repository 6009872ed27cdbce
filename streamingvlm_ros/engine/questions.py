"""Questions that wait for a row, and those that are being answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from ..errors import QuestionError, StreamingVLMError
from ..types import Answer, Ask
from .chat_format import ChatFormat, IncrementalDetokenizer
from .kv_cache import SlotAllocator
from .question_prompts import Prompt
from .rounds import State
from .runner import Feed, RowLimits, Runner
from .scheduler import Scheduler, Turn
from .stream import Stream


@dataclass(eq=False)
class _Answering:
    """A question whose answer is in progress. Its own tokens begin at slot `start`."""

    stream: Stream
    ask: Ask
    prompt: Prompt
    start: int
    generation: int
    text: IncrementalDetokenizer
    turn: Turn = field(init=False)


class Questions:
    """Assigns each question a row, first come, first served, as soon as there is room.

    A question sees its stream's cache as it was when the row was assigned. Its own tokens are in
    the first `slots` of the arena.
    """

    def __init__(
        self,
        runner: Runner,
        scheduler: Scheduler,
        *,
        chat_format: ChatFormat,
        rows: range,
        slots: int,
    ) -> None:
        self._runner, self._scheduler, self._chat_format = runner, scheduler, chat_format
        self._rows, self._slots, self._room = rows, SlotAllocator(0, slots), slots
        self.waiting: deque[tuple[Stream, Ask]] = deque()
        """Questions without a row, oldest first."""
        self.open: list[_Answering] = []
        """Questions that are being answered."""

    def add(self, stream: Stream, ask: Ask) -> None:
        """Queue a question to a stream. Its `on_done` gets the answer or an error."""
        if stream.closed:
            return ask.on_done(QuestionError("the stream is closed: ask another"))
        self.waiting.append((stream, ask))

    def has_questions_to(self, stream: Stream) -> bool:
        """Return True while a question to a stream waits or is being answered."""
        return any(asked is stream for asked, _ in self.waiting) or any(
            answering.stream is stream for answering in self.open
        )

    def is_read(self, regions: Collection[int]) -> bool:
        """Return True while an answer reads one of these cache regions, given by first slots."""
        places = (self._runner.place(answering.turn.row).shared for answering in self.open)
        return any(end > start and start in regions for start, end in places)

    def open_next(self) -> None:
        """Start the waiting questions that there is room for, fed in one pass."""
        opened: list[_Answering] = []
        failures: list[Exception] = []
        try:
            feeds = self._begin_waiting(opened, failures)
            if feeds:
                self._runner.prefill(feeds)
        except Exception as error:
            self._drop(opened, StreamingVLMError(f"the model failed at the question: {error!r}"))
            raise
        for answering in opened:
            self._scheduler.open(answering.turn)
        if failures:
            raise failures[0]

    def fail(self, error: StreamingVLMError, concerns: Callable[[Stream], bool]) -> None:
        """End questions to streams for which `concerns` is true; `on_done` gets `error`."""
        waiting = [ask for stream, ask in self.waiting if concerns(stream)]
        self.waiting = deque(entry for entry in self.waiting if not concerns(entry[0]))
        self._drop([a for a in self.open if concerns(a.stream)], error, waiting=waiting)

    def _drop(
        self,
        answering: Sequence[_Answering],
        error: StreamingVLMError,
        *,
        waiting: Sequence[Ask] = (),
    ) -> None:
        """Free rows and slots; every `on_done` gets `error`, even if another one raises."""
        for one in answering:
            self._leave(one)
        failures: list[Exception] = []
        for ask in (*waiting, *(one.ask for one in answering)):
            _finish(ask, error, failures=failures)
        if failures:
            raise failures[0]

    def _begin_waiting(self, opened: list[_Answering], failures: list[Exception]) -> list[Feed]:
        """Begin the waiting questions that there is room for; return their feeds.

        A listener's exception goes to `failures` and affects no other question.
        """
        feeds: list[Feed] = []
        while self.waiting and (row := self._free_row()) is not None:
            stream, ask = self.waiting[0]
            if self._must_wait(stream, ask):
                break
            try:
                prompt, state = stream.question(ask.question)
                self._check_size(prompt)
            except StreamingVLMError as error:
                self.waiting.popleft()
                _finish(ask, error, failures=failures)
                continue
            if not self._slots.has_room(prompt.slots):
                break
            self.waiting.popleft()
            if not _is_wanted(ask, prompt, failures=failures):
                continue
            opened.append(self._begin(stream, ask, prompt=prompt, state=state, row=row))
            feeds.append(stream.question_feed(prompt, state, row=row, start=opened[-1].start))
        return feeds

    def _free_row(self) -> int | None:
        taken = {answering.turn.row for answering in self.open}
        return next((row for row in self._rows if row not in taken), None)

    def _check_size(self, prompt: Prompt) -> None:
        if prompt.slots > self._room:
            raise QuestionError(
                f"the question and its frames take {prompt.slots} tokens, but there is room for "
                f"{self._room}: ask from fewer frames (recent_frames, history_moments, "
                "question_frame_tokens)"
            )

    def _must_wait(self, stream: Stream, ask: Ask) -> bool:
        """True if another open question needs the room for what the stream remembers."""
        return ask.question.remember and any(
            other.stream is stream and other.ask.question.remember for other in self.open
        )

    def _begin(
        self, stream: Stream, ask: Ask, *, prompt: Prompt, state: State, row: int
    ) -> _Answering:
        """Assign a row and slots to a question. From now on `fail` includes it."""
        start = self._slots.allocate(prompt.slots)
        text = self._chat_format.incremental_detokenizer()
        answering = _Answering(stream, ask, prompt, start, stream.generation, text)
        context = {*(state.ledger.distinct_ids if prompt.on_stream else ()), *prompt.ids}
        answering.turn = Turn(
            row,
            RowLimits(stream.sampling, context, stream.sampling.seed, prompt.max_tokens),
            on_token=lambda id: self._on_token(answering, id),
            on_done=lambda turn: self._end(answering),
        )
        self.open.append(answering)
        return answering

    def _on_token(self, answering: _Answering, id: int) -> bool:
        piece = answering.text.add(id)
        if len(answering.turn.ids) >= answering.prompt.max_tokens:
            piece += answering.text.end()
        return self._emit(answering, piece)

    def _emit(self, answering: _Answering, piece: str) -> bool:
        try:
            return answering.ask.on_token(piece)
        except Exception as error:
            self._leave(answering)
            answering.ask.on_done(_listener_failed(error))
            raise

    def _end(self, answering: _Answering) -> None:
        turn, ask, stream = answering.turn, answering.ask, answering.stream
        complete = turn.complete and self._emit(answering, answering.text.end())
        self._leave(answering)
        text = self._chat_format.decode(turn.ids)
        if ask.question.remember and complete and answering.generation == stream.generation:
            stream.remember(ask.question.text, text, max_tokens=answering.prompt.max_tokens)
        ask.on_done(_answer(answering.prompt, text, tokens=len(turn.ids), complete=complete))

    def _leave(self, answering: _Answering) -> None:
        """Free the answer's row and slots."""
        if answering in self.open:
            self._scheduler.cancel(answering.turn)
            self._slots.free(answering.start)
            self.open.remove(answering)


def _is_wanted(ask: Ask, prompt: Prompt, *, failures: list[Exception]) -> bool:
    """Report the answer's frames to the listener; if it declines, end the question."""
    outcome: Answer | StreamingVLMError = _answer(prompt, "", tokens=0, complete=False)
    try:
        if ask.on_start(prompt.seen):
            return True
    except Exception as error:
        failures.append(error)
        outcome = _listener_failed(error)
    _finish(ask, outcome, failures=failures)
    return False


def _finish(ask: Ask, outcome: Answer | StreamingVLMError, *, failures: list[Exception]) -> None:
    """Deliver an outcome; collect a listener's error, so that the others get theirs, too."""
    try:
        ask.on_done(outcome)
    except Exception as error:
        failures.append(error)


def _listener_failed(error: Exception) -> QuestionError:
    return QuestionError(f"the listener of the answer failed: {error!r}")


def _answer(prompt: Prompt, text: str, *, tokens: int, complete: bool) -> Answer:
    return Answer(text, prompt.seen.from_ns, prompt.seen.until_ns, tokens, complete)
