"""One endless video on an engine: its cache, what the cache holds, and its random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..config import SamplingConfig
from ..errors import ConfigError, QuestionError, StreamingVLMError
from ..types import NS_PER_S, Answer, Chunk, Narration, Question
from .ledger import Ledger, Segment
from .positions import positions
from .sampler import Sampler
from .window import cut, evict

if TYPE_CHECKING:
    from .engine import StreamingEngine


@dataclass(frozen=True)
class _State:
    """All that a stream knows beside its cache. Immutable, so a branch of it is free.

    `pending` ends the last round and goes through the model with the next one. `span_s` is the
    newest round in seconds of stream; `spans_ns` are the oldest and newest stamps of each visible
    round.
    """

    ledger: Ledger = Ledger()
    pending: Segment | None = None
    round: int = 0
    origin_ns: int = 0
    span_s: tuple[float, float] = (0.0, 0.0)
    spans_ns: tuple[tuple[int, int], ...] = ()


class Stream:
    """`step` narrates the next chunk; `ask` asks about what is in the cache."""

    def __init__(self, engine: StreamingEngine) -> None:
        self._engine = engine
        self.sampling = engine.settings.sampling
        decoder = engine.decoder
        self._cache = decoder.new_cache(engine.capacity())
        self._position = torch.zeros(3, 1, device=decoder.device)
        self._slot = torch.zeros(1, dtype=torch.long, device=decoder.device)
        self.reset()

    def reset(self) -> None:
        """Forget everything seen and said, and start the random numbers again."""
        decoder = self._engine.decoder
        self._cache.truncate(0)
        self.sampler = Sampler(decoder.vocabulary, self.sampling.seed, decoder.device)
        self._state = _State()

    @property
    def sampling(self) -> SamplingConfig:
        """How the next token is chosen; may be set between rounds.

        What is left to the checkpoint is filled in.
        """
        return self._sampling

    @sampling.setter
    def sampling(self, config: SamplingConfig) -> None:
        self._sampling = self._engine.complete(config)

    @property
    def ledger(self) -> Ledger:
        """What is in the cache."""
        return self._state.ledger

    @property
    def context_ids(self) -> list[int]:
        """Ids in the cache, then the `<|im_end|>` that ends the last round and is not yet there."""
        pending = self._state.pending
        return self.ledger.ids + ([pending.ids[0]] if pending else [])

    @property
    def cached_tokens(self) -> int:
        """Tokens in the cache now; while a round is being said, more than the ledger holds."""
        return self._cache.length

    @property
    def cache_bytes(self) -> int:
        """Memory of this stream's cache: fixed from the start."""
        return self._cache.nbytes

    @torch.inference_mode()
    def step(self, chunk: Chunk) -> Narration:
        """Look at one chunk and say what there is to say.

        ConfigError if the chunk holds more than a round was configured for.
        """
        round = self._state.round
        logits = self._watch(chunk)
        ids = self._generate(logits, self._engine.settings.sampling.max_new_tokens)
        self._finish_round(ids, chunk)
        return Narration(
            text=self._engine.dialogue.decode(ids),
            start_ns=chunk.start_ns,
            end_ns=chunk.end_ns,
            newest_ns=chunk.newest_ns,
            frame_id=chunk.frames[-1].frame_id,
            sequence=round,
            frames=len(chunk.frames),
            dropped=chunk.dropped,
            tokens=len(ids),
        )

    @torch.inference_mode()
    def ask(self, question: str, max_tokens: int | None = None) -> Answer:
        """Answer from what is in the cache; the stream is afterwards as if nothing was asked.

        QuestionError if the question is empty or too long, or nothing has been seen yet.
        """
        question = question.strip()
        limit = self._check_question(question, max_tokens)
        state, dialogue = self._state, self._engine.dialogue
        with self.branch():
            turn = dialogue.user_turn(state.round, *state.span_s, question=question)
            ids = self._generate(self._feed(turn), limit)
        stamps = [stamp for span in state.spans_ns for stamp in span]
        return Answer(dialogue.decode(ids), min(stamps), max(stamps), len(ids))

    def answer(
        self,
        questions: Sequence[Question],
        heard: Callable[[int, str], bool],
        reply: Callable[[int, Answer | StreamingVLMError], None],
    ) -> None:
        """Answer several questions side by side; `reply` is called once for each, by its number.

        `heard` is given every piece of an answer as it comes, and says whether to go on.
        """
        for index, question in enumerate(questions):
            try:
                answer = self.ask(question.text, question.max_tokens)
            except QuestionError as error:
                reply(index, error)
            else:
                heard(index, answer.text)
                reply(index, answer)

    @contextmanager
    def branch(self) -> Iterator[None]:
        """Roll back, on leaving, whatever was fed and said inside. Nothing is copied.

        A round can't be stepped inside: it would evict what the branch returns to.
        """
        state, length, evictions = self._state, self._cache.length, self._cache.evictions
        random = self.sampler.random.get_state()
        try:
            yield
        finally:
            if self._cache.evictions != evictions:
                raise RuntimeError("a round was stepped inside a branch: reset the stream")
            self._cache.truncate(length)
            self._state = state
            self.sampler.random.set_state(random)

    def _watch(self, chunk: Chunk) -> Tensor:
        """Make room, then take in a chunk; logits of what is to be said about it."""
        engine, state = self._engine, self._state
        seen, grid = engine.see(chunk)
        self._check_room(len(seen))
        opening: list[Segment] = []
        origin_ns = state.origin_ns if state.round else chunk.start_ns
        if state.round == 0:
            previous = engine.dialogue.encode(engine.settings.prompt.previous_text)
            opening = engine.dialogue.opening(cut(previous, engine.settings.window))
        span_s = ((chunk.start_ns - origin_ns) / NS_PER_S, (chunk.end_ns - origin_ns) / NS_PER_S)
        self._state = replace(state, origin_ns=origin_ns, span_s=span_s)
        self._evict()
        turn = engine.dialogue.user_turn(
            state.round,
            *span_s,
            grid=grid,
            grid_seconds=engine.grid_seconds,
            instruction="" if state.round else engine.settings.prompt.instruction,
        )
        return self._feed(opening + turn, seen)

    def _evict(self) -> None:
        """Let go of what is too old for the round to come; keys take their new positions."""
        state, engine = self._state, self._engine
        window = engine.settings.window
        eviction = evict(state.ledger, state.round, window)
        first = eviction.first_moved
        if first < len(state.ledger):
            moved = positions(eviction.ledger, engine.tokens_per_second)[:, first:]
            cos, sin = engine.decoder.rotation(moved.to(self._slot.device))
            sources = torch.tensor(eviction.slots[first:], dtype=torch.long, device=cos.device)
            self._cache.keep(sources, first, cos, sin)
        pending = state.pending
        if pending and state.round - pending.round >= window.text_rounds:
            pending = None
        self._state = replace(state, ledger=eviction.ledger, pending=pending)

    def _feed(self, segments: Sequence[Segment], seen: Tensor | None = None) -> Tensor:
        """Append what is pending and `segments` to the cache; (vocabulary,) logits of the last."""
        engine, state = self._engine, self._state
        ledger = state.ledger.append([*([state.pending] if state.pending else []), *segments])
        start = self._cache.length
        ids = torch.tensor(ledger.ids[start:], device=self._slot.device)
        embedded = engine.decoder.embed(ids)
        if seen is not None:
            embedded[ids == engine.dialogue.pad_id] = seen.to(embedded.dtype)
        places = positions(ledger, engine.tokens_per_second)
        self._position.fill_(float(places.max()))
        self._state = replace(state, ledger=ledger, pending=None)
        new = places[:, start:].to(self._slot.device)
        return engine.decoder.prefill(embedded, new, self._cache)[0]

    def _generate(self, logits: Tensor, max_tokens: int) -> list[int]:
        """Ids up to a stop, all of them in the cache; the caller puts them on the ledger."""
        ids: list[int] = []
        self.sampler.begin(self.ledger.ids)
        while len(ids) < max_tokens:
            token = self.sampler.choose(logits, self.sampling)
            id = int(token)
            if id in self._engine.stop_ids:
                break
            ids.append(id)
            logits = self._advance(token)
        return ids

    def _advance(self, token: Tensor) -> Tensor:
        """One token further, with the same shapes every time; (vocabulary,) logits of the next."""
        self._slot.fill_(self._cache.length)
        self._position.add_(1.0)
        self._cache.length += 1
        return self._engine.decoder.step(token, self._position, self._slot, self._cache)[0]

    def _finish_round(self, ids: list[int], chunk: Chunk) -> None:
        state, dialogue = self._state, self._engine.dialogue
        spans_ns = (*state.spans_ns, (chunk.frames[0].stamp_ns, chunk.newest_ns))
        self._state = replace(
            state,
            ledger=state.ledger.append(dialogue.split_generated(state.round, ids)),
            pending=dialogue.closing(state.round),
            round=state.round + 1,
            spans_ns=spans_ns[-self._engine.settings.window.vision_rounds :],
        )

    def _check_room(self, vision_tokens: int) -> None:
        limit = self._engine.vision_tokens_per_round
        if vision_tokens > limit:
            raise ConfigError(
                f"a chunk became {vision_tokens} vision tokens, but a round has room for {limit}: "
                "raise fps, chunk_seconds or max_frame_tokens to what the source sends"
            )

    def _check_question(self, question: str, max_tokens: int | None) -> int:
        """The most tokens of the answer."""
        prompt = self._engine.settings.asking
        if not question:
            raise QuestionError("the question is empty")
        length = len(self._engine.dialogue.encode(" " + question))
        if length > prompt.max_question_tokens:
            raise QuestionError(
                f"the question has {length} tokens; at most {prompt.max_question_tokens} are "
                "taken (max_question_tokens): ask a shorter one"
            )
        limit = prompt.max_answer_tokens if max_tokens is None else max_tokens
        if not 1 <= limit <= prompt.max_answer_tokens:
            raise QuestionError(
                f"max_tokens must be between 1 and {prompt.max_answer_tokens} (max_answer_tokens)"
            )
        if not self._state.spans_ns:
            raise QuestionError("nothing has been seen yet: ask again when frames arrive")
        return limit
