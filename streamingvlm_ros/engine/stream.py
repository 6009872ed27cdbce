"""One camera's stream: its state, its place in the cache, and its turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from ..config import SamplingConfig, Settings
from ..errors import ConfigError, StreamingVLMError
from ..types import NS_PER_S, Answer, Ask, Chunk, ChunkPart, Frame, Narration, Question
from .budget import EARLIEST_S, LATEST_S, Budget
from .ledger import Grid, Ledger
from .question_prompts import Prompt, QuestionPrompts
from .qwen2_5.model import Model
from .qwen2_5.vision import token_grid
from .rounds import RoundWriter, State
from .runner import Feed, Place, RowLimits, Runner
from .scheduler import Turn
from .window import Eviction


@dataclass(frozen=True)
class Round:
    """A narrated round, with all frames of its chunk."""

    stream: Stream
    chunk: Chunk
    narration: Narration


class Engine(Protocol):
    """Interface of the engine for streams and sessions."""

    @property
    def busy(self) -> bool: ...  # noqa: D102
    def step(self, chunks: Sequence[tuple[Stream, Chunk]]) -> list[Narration]: ...  # noqa: D102
    def see(self, parts: Sequence[tuple[Stream, ChunkPart]]) -> None: ...  # noqa: D102
    def ask(self, stream: Stream, ask: Ask) -> None: ...  # noqa: D102
    def advance(self) -> None: ...  # noqa: D102
    def take_rounds(self) -> list[Round]: ...  # noqa: D102
    def finish(self, stream: Stream) -> None: ...  # noqa: D102
    def reset(self, stream: Stream) -> None: ...  # noqa: D102
    def close(self, stream: Stream) -> None: ...  # noqa: D102


class Stream:
    """Holds a camera's state and makes turns, which the engine decodes.

    `step` narrates a chunk and `ask` answers a question; both return when it is complete and are
    meant for programs with a single stream. The engine opens and closes streams, and assigns each a
    row and two regions of the cache.
    """

    def __init__(
        self, engine: Engine, model: Model, *, runner: Runner, settings: Settings, row: int
    ) -> None:
        self.engine, self._model, self._runner = engine, model, runner
        self.row, self.settings = row, settings
        self.spec = model.frame_spec(settings.model)
        self.budget = Budget(model.chat_format, settings, self.spec.temporal_patch)
        self._window_slots = cache(self.budget.window)
        grid_seconds = self.spec.grid_seconds(settings.frames.fps)
        self._rounds = RoundWriter(model.chat_format, settings, grid_seconds)
        self._question_spec = self.spec.for_questions(settings.asking)
        self._prompts = QuestionPrompts(self.budget, self._question_spec, grid_seconds=grid_seconds)
        runner.set_place(row, Place(0, 0))
        self.sampling = settings.sampling
        self.closed = False
        self.regions = (0, 0)
        """First slots of its two cache regions, which evictions use alternately."""
        self.capacity = 0
        """Slots of each region; 0 before the first frame."""
        self.generation = 0
        """Number of resets."""
        self._region = 0
        self._turn: Turn | None = None
        self._state = State()
        self._parts: list[ChunkPart] = []

    @property
    def sampling(self) -> SamplingConfig:
        """Complete settings for choosing the next token; they may be set between rounds.

        `max_new_tokens` is that of `settings`: the cache has room for no more.
        """
        return self._sampling

    @sampling.setter
    def sampling(self, config: SamplingConfig) -> None:
        self._sampling = self._model.complete(config)

    @property
    def ledger(self) -> Ledger:
        """The segments in the cache, without a narration in progress."""
        return self._state.ledger

    @property
    def context_ids(self) -> list[int]:
        """Ids in the cache, and the end of the last round's turn, which is fed later."""
        pending = self._state.pending
        return self.ledger.ids + ([pending[0].ids[0]] if pending else [])

    @property
    def cached_tokens(self) -> int:
        """Number of tokens in the cache; during a narration, more than the ledger has."""
        place = self._place
        return place.end - place.start

    @property
    def ready(self) -> bool:
        """True if the next part of a chunk can be fed: no narration is in progress."""
        return self._turn is None

    def step(self, chunk: Chunk) -> Narration:
        """Narrate one chunk.

        Raises:
            ConfigError, ImageError: as the engine's `step`.
        """
        (narration,) = self.engine.step([(self, chunk)])
        return narration

    def ask(self, question: str | Question) -> Answer:
        """Answer one question.

        Raises:
            QuestionError: the question can't be answered; the message says why.
        """
        outcomes: list[Answer | StreamingVLMError] = []
        asked = Question(question) if isinstance(question, str) else question
        self.engine.ask(self, Ask(asked, outcomes.append))
        while not outcomes:
            self.engine.advance()
        if isinstance(outcomes[0], StreamingVLMError):
            raise outcomes[0]
        return outcomes[0]

    def reset(self) -> None:
        """Clear the context; answers in progress continue with the old one."""
        self.engine.reset(self)

    def close(self) -> None:
        """Free the row and the cache. Open questions end with an error."""
        self.engine.close(self)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- for the engine ---

    def use(self, regions: tuple[int, int], capacity: int) -> None:
        """Switch to two regions of `capacity` slots each; the first holds the tokens."""
        tokens = self.cached_tokens
        self.regions, self._region, self.capacity = regions, 0, capacity
        self._runner.set_place(self.row, Place(regions[0], regions[0] + tokens))

    @property
    def next_region(self) -> int:
        """Start of the region that the next eviction writes to."""
        return self.regions[1 - self._region]

    @property
    def watching(self) -> bool:
        """True while a round's frames come in."""
        return self._state.watching

    def slots_needed(self, grid: Grid | None) -> int:
        """Return the maximum number of slots with frames of this size; 0 without frames."""
        return self._window_slots(grid[1] * grid[2]) if grid else 0

    def grid_of(self, part: ChunkPart) -> Grid | None:
        """Return the grid of tokens that a part's frames become; None without frames.

        Raises:
            ConfigError: the part belongs to another chunk than the open one, or is too far from the
                stream's first; or the round would have no frames, or more than configured.
            ImageError: its frames are no images, or differ in size from those before.
        """
        first = self._parts[0] if self.watching else part
        if (part.start_ns, part.end_ns) != (first.start_ns, first.end_ns):
            raise ConfigError(
                "the stream is in the middle of another chunk: see its last part first, or reset"
            )
        if not first.frames:
            raise ConfigError("a chunk has no frames: give at least one in its first part")
        self._check_times(part)
        # All frames of a chunk must have the size of its first.
        images = [frame.image for frame in (first.frames[0], *part.frames)]
        _, rows, columns = token_grid(images, self.spec)
        if not part.frames:
            return None
        grid = -(-len(part.frames) // self.spec.temporal_patch), rows, columns
        steps = self._state.steps if self.watching else 0
        limit = self.budget.steps_per_round
        if steps + grid[0] > limit:
            raise ConfigError(
                f"a chunk has more frames than the {limit * self.spec.temporal_patch} that a round "
                "has room for: raise fps or chunk_seconds to what the source sends"
            )
        return grid

    def _check_times(self, part: ChunkPart) -> None:
        """Raise ConfigError if a time doesn't fit into the ten digits of a round's turn."""
        origin_ns = self._state.origin_ns if self._state.round else part.start_ns
        for time_ns in (part.start_ns, part.end_ns):
            if not EARLIEST_S * NS_PER_S <= time_ns - origin_ns <= LATEST_S * NS_PER_S:
                raise ConfigError(
                    f"a chunk's time is {time_ns} ns in a stream that began at {origin_ns} ns: "
                    "reset the stream"
                )

    def see(self, part: ChunkPart, grid: Grid | None, *, seen: Tensor | None) -> Feed:
        """Add a part of a chunk; return its feed.

        `seen` are its vision tokens (tokens, hidden), of `grid`.
        """
        if not self.watching:
            self._evict()
            self._state = self._rounds.begin(self._state, part)
            self._parts = []
        self._parts.append(part)
        self._state = self._rounds.see(self._state, part, grid=grid)
        fed = self.cached_tokens
        return Feed(
            self.row,
            self._place,
            self._embed(self.ledger.ids_from(fed), seen),
            self._positions(self.ledger, fed),
            opens=part.last,
        )

    def narrate(self, part: ChunkPart, on_end: Callable[[Round], None]) -> Turn:
        """Make the turn that narrates the round, whose last part was seen."""
        frames = tuple(frame for part in self._parts for frame in part.frames)
        chunk = Chunk(frames, part.start_ns, part.end_ns, self._parts[0].dropped)
        self._turn = Turn(
            self.row,
            RowLimits(
                self.sampling,
                self.ledger.distinct_ids,
                _seed(self.sampling.seed, self._state.round),
                self.settings.sampling.max_new_tokens,
            ),
            on_token=lambda id: True,
            on_done=lambda turn: on_end(self._end_round(turn, chunk)),
        )
        return self._turn

    def question(self, question: Question) -> tuple[Prompt, State]:
        """Return the prompt of a question to what is in the cache now, and that state.

        Raises:
            QuestionError: it can't be asked.
        """
        state = self._rounds.truncated(self._state, self._turn.ids if self._turn else None)
        return self._prompts.prompt(question, state), state

    def question_feed(self, prompt: Prompt, state: State, *, row: int, start: int) -> Feed:
        """Return the feed of a question in a row of its own, whose slots begin at `start`."""
        ledger = state.ledger if prompt.on_stream else Ledger()
        seen = self._encode(prompt.frames) if prompt.frames else None
        shared = (self._place.start, self._place.end) if prompt.on_stream else (0, 0)
        return Feed(
            row,
            Place(start, start, shared),
            self._embed(prompt.ids, seen),
            self._model.positions([*ledger, *prompt.segments])[:, len(ledger) :],
        )

    def remember(self, question: str, answer: str, *, max_tokens: int) -> None:
        """Put a question and its answer at the start of the next round.

        Broken characters may take more tokens when the text is encoded again: an answer that then
        exceeds `max_tokens` is truncated.
        """
        while len(self._model.chat_format.encode(" " + answer)) > max_tokens:
            answer = answer[: len(answer) * 9 // 10]
        remembered = (*self._state.remembered, (question.strip(), answer))
        self._state = replace(self._state, remembered=remembered)

    def forget(self) -> Turn | None:
        """Clear the context and switch to the other region; return the turn to cancel."""
        turn, self._turn = self._turn, None
        self.generation += 1
        self._region = 1 - self._region
        start = self.regions[self._region]
        self._runner.set_place(self.row, Place(start, start))
        self._state, self._parts = State(), []
        return turn

    def _evict(self) -> None:
        """Evict what is too old for the next round, and rotate keys for their new positions."""
        self._state, eviction = self._rounds.evict(self._state)
        if eviction.first_moved < self.cached_tokens:
            self._move(eviction)

    def _move(self, eviction: Eviction) -> None:
        """Write the remaining tokens to the other region: open answers still read this one."""
        decoder = self._model.decoder
        old, start = self._place.start, self.next_region
        positions = self._positions(eviction.ledger, 0).to(decoder.device)
        cos, sin = decoder.rotation(positions)
        sources = torch.tensor(eviction.slots, device=decoder.device) + old
        self._runner.cache.move(sources, start, cos=cos, sin=sin)
        self._region = 1 - self._region
        self._runner.set_place(self.row, Place(start, start + len(eviction.slots)))

    def _end_round(self, turn: Turn, chunk: Chunk) -> Round:
        narration = Narration(
            text=self._model.chat_format.decode(turn.ids),
            start_ns=chunk.start_ns,
            end_ns=chunk.end_ns,
            newest_ns=chunk.frames[-1].stamp_ns,
            frame_id=chunk.frames[-1].frame_id,
            sequence=self._state.round,
            frames=len(chunk.frames),
            dropped=chunk.dropped,
            tokens=len(turn.ids),
        )
        self._turn = None
        self._state = self._rounds.end(self._state, turn.ids)
        return Round(self, chunk, narration)

    @property
    def _place(self) -> Place:
        return self._runner.place(self.row)

    def _encode(self, groups: Sequence[Sequence[Frame]]) -> Tensor:
        """Return vision tokens (tokens, hidden) of a question's frames."""
        images = [[frame.image for frame in frames] for frames in groups]
        encoded = self._model.vision_encoder.encode(images, self._question_spec)
        return torch.cat([tokens for tokens, _ in encoded])

    def _embed(self, ids: Sequence[int], seen: Tensor | None) -> Tensor:
        """Return (tokens, hidden) embeddings of ids, with `seen` at the vision tokens."""
        decoder, pad_id = self._model.decoder, self._model.chat_format.pad_id
        embedded = decoder.embed(torch.tensor(ids, device=decoder.device))
        if seen is None:
            return embedded
        pads = [index for index, id in enumerate(ids) if id == pad_id]
        indices = torch.tensor(pads, device=decoder.device)
        return embedded.index_copy(0, indices, seen.to(embedded.dtype))

    def _positions(self, ledger: Ledger, start: int) -> Tensor:
        """Return (3, tokens) positions of a ledger's tokens from index `start` on."""
        return self._model.positions(ledger)[:, start:]


def _seed(seed: int, round: int) -> int:
    """Return the seed of a round's random numbers. CPU generators use its lowest 32 bits."""
    return (seed * 2_654_435_761 + round) % 2**63
