"""The engine: one set of weights, several streams, and one decode loop for all of them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..config import Settings
from ..errors import ConfigError, ModelError, QuestionError, StreamingVLMError
from ..types import Ask, Chunk, ChunkPart, Narration
from .budget import Budget, largest_setting
from .kv_cache import SlotAllocator
from .ledger import Grid
from .loading import as_model_error
from .memory import check_free
from .model import LoadedModel, load
from .questions import Questions
from .qwen2_5.model import Model
from .runner import Runner
from .scheduler import Scheduler
from .stream import Round, Stream

log = logging.getLogger(__name__)


class StreamingEngine:
    """Weights, one KV cache, and the streams on it. Not thread-safe: one thread owns it.

    A stream's frames go in by `see`, questions by `ask`; `advance` decodes one token for every
    open turn. `step` does all that for whole chunks.
    """

    stream_type: type[Stream] = Stream
    """Class of the streams that `open_stream` returns."""

    def __init__(
        self,
        loaded: LoadedModel,
        settings: Settings,
        *,
        max_streams: int = 1,
        on_device: bool | None = None,
    ) -> None:
        """Prepare for at most `max_streams` open streams; `on_device` is as in `Runner`.

        Raises:
            ConfigError: the attention that the settings name doesn't work here, or there is no
                memory for the cache.
        """
        self.settings, self.model = settings, Model(loaded, settings.model)
        decoder = self.model.decoder
        log.info("attention: %s on %s", self.model.attention, decoder.device)
        questions = settings.asking.questions_at_once
        spec = self.model.frame_spec(settings.model)
        budget = Budget(self.model.chat_format, settings, spec.temporal_patch)
        room = budget.questions(spec.for_questions(settings.asking).max_tokens)
        self._max_streams = max_streams
        # Frames of unknown size: at least as large as the smallest.
        self._check_memory(settings, self._slots(settings, 0), step_tokens=0)
        self.runner = Runner(
            decoder,
            decoder.new_cache(room),
            streams=max_streams,
            questions=questions,
            stop_ids=self.model.stop_ids,
            backend=self.model.attention,
            on_device=on_device,
        )
        self.scheduler = Scheduler(self.runner)
        self._stream_rows = range(max_streams)
        self._streams: dict[int, Stream] = {}
        self._room, self._regions = room, SlotAllocator(room)
        self._rounds: list[Round] = []
        self._questions = Questions(
            self.runner,
            self.scheduler,
            chat_format=self.model.chat_format,
            rows=range(max_streams, max_streams + questions),
            slots=room,
        )

    @classmethod
    def from_pretrained(
        cls, checkpoint: Path | str, settings: Settings, *, max_streams: int = 1
    ) -> StreamingEngine:
        """Load a checkpoint's folder or hub id (see `model.resolve`).

        Raises:
            ModelError: it can't be loaded.
            ConfigError: the settings don't fit the machine or the checkpoint.
        """
        with as_model_error(f"can't load {checkpoint}"):
            return cls(load(checkpoint, settings.model), settings, max_streams=max_streams)

    @property
    def device(self) -> torch.device:
        """The device of the weights and the cache."""
        return self.model.decoder.device

    @property
    def busy(self) -> bool:
        """True while `advance` has something to do."""
        return self.scheduler.busy or bool(self._questions.waiting)

    @property
    def cache_bytes(self) -> int:
        """Memory of the KV cache: it grows only when a stream opens or its frames get larger."""
        return self.runner.cache.nbytes

    def open_stream(self, settings: Settings | None = None) -> Stream:
        """Open a stream, with the engine's settings or its own.

        A stream's own settings apply except those that the engine has already used: weights,
        device, attention, `questions_at_once` and the room for questions.

        Raises:
            ConfigError: `max_streams` are open already.
        """
        free = [row for row in self._stream_rows if row not in self._streams]
        if not free:
            raise ConfigError(
                f"{len(self._streams)} streams are open already: close one, or raise the engine's "
                "max_streams"
            )
        stream = self.stream_type(
            self,
            self.model,
            runner=self.runner,
            settings=settings or self.settings,
            row=free[0],
        )
        self._streams[stream.row] = stream
        return stream

    def step(self, chunks: Sequence[tuple[Stream, Chunk]]) -> list[Narration]:
        """Narrate one chunk of each of several streams together.

        Raises:
            ConfigError: a chunk has no frames, or more than a round was configured for; its time
                is centuries from the stream's first; there is no memory for its frames; or a
                stream is closed, still narrating, in the middle of another chunk, or named twice.
            ImageError: the frames of a chunk differ in size, or are no images.
                Nothing has changed in either case.
        """
        self.see([(stream, ChunkPart.whole(chunk)) for stream, chunk in chunks])
        while any(not stream.ready for stream, _ in chunks):
            self.advance()
        rounds = {r.stream: r.narration for r in self._rounds}
        narrations = [rounds.pop(stream) for stream, _ in chunks]
        self._rounds = [r for r in self._rounds if r.stream in rounds]
        return narrations

    @torch.inference_mode()
    def see(self, parts: Sequence[tuple[Stream, ChunkPart]]) -> None:
        """Feed the next part of a chunk of each of several streams, in one pass.

        A stream begins to narrate with the last part.

        Raises:
            ConfigError, ImageError: as `step`.
        """
        if len({stream for stream, _ in parts}) < len(parts):
            raise ConfigError("a stream takes one part of a chunk at a time, but is named twice")
        if not parts:
            return
        grids = [self._checked(stream, part) for stream, part in parts]
        # Questions asked before these frames arrived are about the context without them.
        if self._questions.waiting:
            self._questions.open_next()
        for (stream, _), grid in zip(parts, grids, strict=True):
            self._make_room(stream, grid)
        self.runner.prefill(
            [
                stream.see(part, grid, seen=seen)
                for (stream, part), grid, seen in zip(
                    parts, grids, self._encode(parts), strict=True
                )
            ]
        )
        for stream, part in parts:
            if part.last:
                self.scheduler.open(stream.narrate(part, self._add_round))

    def ask(self, stream: Stream, ask: Ask) -> None:
        """Answer a question concurrently with the narrations, as soon as a row is free.

        Its `on_done` gets a QuestionError if it can't be answered.
        """
        self._questions.add(stream, ask)

    @torch.inference_mode()
    def advance(self) -> None:
        """Start waiting questions if there is room, and decode a token for every open turn.

        Raises:
            ModelError: the model computes values that are no numbers. All turns have ended, all
                questions got this error, and all streams are cleared.
        """
        if self._questions.waiting:
            self._questions.open_next()
        try:
            self.scheduler.step()
        except ModelError as error:
            self.abort(error)
            # A NaN that is left in the cache spoils a sum even where its weight is 0.
            self.runner.cache.clear()
            raise

    def take_rounds(self) -> list[Round]:
        """Return the rounds narrated since the last call, in order."""
        rounds, self._rounds = self._rounds, []
        return rounds

    def finish(self, stream: Stream) -> None:
        """Decode until a stream's narration and all answers about it are complete."""
        while not stream.ready or self._questions.has_questions_to(stream):
            self.advance()

    def reset(self, stream: Stream) -> None:
        """Clear a stream's context; answers in progress continue with the old one.

        Raises:
            ConfigError: the stream is closed, so its row may belong to another.
        """
        self._check_open(stream)
        self._wait_for_readers([stream.next_region])
        self._forget(stream)

    def close(self, stream: Stream) -> None:
        """Close a stream and free its row and cache. Its open questions end with an error."""
        if stream.closed:
            return
        stream.closed = True
        self._forget(stream)
        self._release(stream)
        del self._streams[stream.row]
        self._questions.fail(QuestionError("the stream was closed"), lambda s: s is stream)

    def abort(self, error: StreamingVLMError) -> None:
        """End all turns, fail all questions with `error`, and clear all streams."""
        for stream in self._streams.values():
            self._forget(stream)
        self._questions.fail(error, lambda stream: True)

    def _add_round(self, round: Round) -> None:
        self._rounds.append(round)

    def _forget(self, stream: Stream) -> None:
        if turn := stream.forget():
            self.scheduler.cancel(turn)

    def _check_open(self, stream: Stream) -> None:
        if stream.closed:
            raise ConfigError("the stream is closed: open another")

    def _checked(self, stream: Stream, part: ChunkPart) -> Grid | None:
        self._check_open(stream)
        if not stream.ready:
            raise ConfigError("the stream is still narrating: advance the engine until it is ready")
        return stream.grid_of(part)

    def _encode(self, parts: Sequence[tuple[Stream, ChunkPart]]) -> list[Tensor | None]:
        """Encode each part to (tokens, hidden); parts with the same frame budget together."""
        seen: list[Tensor | None] = [None] * len(parts)
        for spec in {stream.spec for stream, _ in parts}:
            alike = [i for i, (s, part) in enumerate(parts) if s.spec == spec and part.frames]
            images = [[frame.image for frame in parts[i][1].frames] for i in alike]
            encoded = self.model.vision_encoder.encode(images, spec)
            for i, (tokens, _) in zip(alike, encoded, strict=True):
                seen[i] = tokens
        return seen

    def _make_room(self, stream: Stream, grid: Grid | None) -> None:
        """Make a stream's regions large enough, and its next region free of readers."""
        needed = stream.slots_needed(grid)
        if needed > stream.capacity:
            slots, step_tokens = self._regions.end + 2 * needed, grid[1] * grid[2] if grid else 0
            if slots > self.runner.cache.slots:
                self._check_memory(stream.settings, slots, step_tokens=step_tokens)
            if stream.capacity:
                log.warning(
                    "a stream's frames became larger: its cache grows from %d to %d tokens",
                    stream.capacity,
                    needed,
                )
            self._enlarge(stream, needed)
        if not stream.watching:
            self._wait_for_readers([stream.next_region])

    def _check_memory(self, settings: Settings, slots: int, *, step_tokens: int) -> None:
        """Raise ConfigError if the device has no memory for a cache of `slots`."""

        def remedy() -> str:
            name = largest_setting(settings, lambda lower: self._slots(lower, step_tokens))
            return f"lower {name} (now {settings.flat()[name]})"

        needed = self.model.decoder.cache_bytes(slots)
        check_free(needed, self.device, what=f"{slots} tokens of KV cache", remedy=remedy)

    def _slots(self, settings: Settings, step_tokens: int) -> int:
        """Return the slots for all streams, whose frames have `step_tokens`, and the questions."""
        spec = self.model.frame_spec(settings.model)
        budget = Budget(self.model.chat_format, settings, spec.temporal_patch)
        return budget.arena(
            self._max_streams,
            min(max(step_tokens, spec.min_tokens), spec.max_tokens),
            frame_tokens=spec.for_questions(settings.asking).max_tokens,
        )

    def _enlarge(self, stream: Stream, capacity: int) -> None:
        """Move a stream to larger regions, after the answers that read the old ones."""
        self._wait_for_readers(stream.regions)
        place, cache = self.runner.place(stream.row), self.runner.cache
        regions = self._regions.allocate(capacity), self._regions.allocate(capacity)
        if self._regions.end > cache.slots:
            larger = self.model.decoder.new_cache(self._regions.end)
            larger.copy_from(cache, source=0, target=0, tokens=cache.slots)
            cache = larger
        cache.copy_from(cache, source=place.start, target=regions[0], tokens=stream.cached_tokens)
        longest = max(self._room, capacity, *(s.capacity for s in self._streams.values()))
        self.runner.use_cache(cache, longest=longest)
        self._release(stream)
        stream.use(regions, capacity)

    def _release(self, stream: Stream) -> None:
        if stream.capacity:
            for start in stream.regions:
                self._regions.free(start)

    def _wait_for_readers(self, regions: Collection[int]) -> None:
        """Decode until no answer reads these cache regions, given by their first slots.

        A round waits here only for answers that were asked before the previous round.
        """
        while self._questions.open and self._questions.is_read(regions):
            self.advance()
