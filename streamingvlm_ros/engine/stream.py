"""One endless video on an engine: its cache, what the cache holds, and its random numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..config import SamplingConfig
from ..errors import ConfigError, QuestionError, StreamingVLMError
from ..types import NS_PER_S, Answer, Ask, Chunk, Narration, Question
from .branches import Branches
from .ledger import Kind, Ledger, Segment
from .question_prompts import Prompt, prompt_of
from .qwen2_5.positions import positions
from .sampler import Sampler
from .state import State
from .window import Eviction, cut, evict

if TYPE_CHECKING:
    from .engine import StreamingEngine


class Stream:
    """`step` narrates the next chunk; `ask` asks about what is in the cache."""

    def __init__(self, engine: StreamingEngine) -> None:
        self._engine = engine
        self.sampling = engine.settings.sampling
        decoder = engine.decoder
        self._cache = decoder.new_cache(engine.window_bound, engine.room)
        self._position = torch.zeros(3, 1, device=decoder.device)
        self._slot = torch.zeros(1, dtype=torch.long, device=decoder.device)
        self.reset()

    def reset(self) -> None:
        """Forget everything seen and said, and start the random numbers again."""
        decoder = self._engine.decoder
        self._cache.truncate(0)
        self.sampler = Sampler(decoder.vocabulary, self.sampling.seed, decoder.device)
        self._state = State()
        self._saying: tuple[int, ...] | None = None

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
    def step(self, chunk: Chunk, pause: Callable[[], None] = lambda: None) -> Narration:
        """Look at one chunk and say what there is to say.

        `pause` is called between tokens, and may call `answer`: a question need not wait until
        the round is over. ConfigError if the chunk holds more than a round was configured for.
        """
        round = self._state.round
        ids = self._generate(self._watch(chunk), pause)
        self._finish_round(ids)
        return Narration(
            text=self._engine.chat_format.decode(ids),
            start_ns=chunk.start_ns,
            end_ns=chunk.end_ns,
            newest_ns=chunk.newest_ns,
            frame_id=chunk.frames[-1].frame_id,
            sequence=round,
            frames=len(chunk.frames),
            dropped=chunk.dropped,
            tokens=len(ids),
        )

    def ask(self, question: str | Question) -> Answer:
        """Answer one question. QuestionError says why it can't be answered."""
        outcomes: list[Answer | StreamingVLMError] = []
        asked = Question(question) if isinstance(question, str) else question
        self.answer(deque([Ask(asked, outcomes.append)]))
        (outcome,) = outcomes
        if isinstance(outcome, StreamingVLMError):
            raise outcome
        return outcome

    @torch.inference_mode()
    def answer(self, waiting: deque[Ask]) -> None:
        """Answer the next questions side by side: as many as there is room for.

        They are taken from the left of `waiting`, at least one of them. The stream is afterwards
        as if nothing was asked, but for what is to be remembered.
        """
        batch = self._batch(waiting)
        if not batch:
            return
        length = self._cache.length
        ledger = self._standing().ledger
        branches = Branches(self._engine, self._cache, ledger, self.sampling)
        try:
            for branch in branches.decode(batch):
                text = self._engine.chat_format.decode(branch.ids)
                if branch.ask.question.remember and branch.complete:
                    asked = (*self._state.asked, (branch.ask.question.text, text))
                    self._state = replace(self._state, asked=asked)
                seen_ns, tokens = branch.prompt.seen_ns, len(branch.ids)
                branch.ask.reply(Answer(text, *seen_ns, tokens, branch.complete))
        finally:
            self._cache.truncate(length)

    def _batch(self, waiting: deque[Ask]) -> list[tuple[Ask, Prompt]]:
        """The next questions that there is room for; one that can't be asked is told so."""
        batch: list[tuple[Ask, Prompt]] = []
        free = self._cache.capacity - self._cache.length
        while waiting and len(batch) < self._engine.settings.asking.questions_at_once:
            ask = waiting[0]
            try:
                prompt = prompt_of(ask.question, self._engine, self._standing())
                # One that is remembered takes of the room that the next one asks for.
                if batch and (ask.question.remember or prompt.slots > free):
                    break
                self._check_free(prompt.slots, free)
            except QuestionError as error:
                ask.reply(error)
            else:
                if ask.heard(""):
                    batch.append((ask, prompt))
                    free -= prompt.slots
                else:
                    ask.reply(Answer("", *prompt.seen_ns, complete=False))
            waiting.popleft()
        return batch

    def _watch(self, chunk: Chunk) -> Tensor:
        """Make room, then take in a chunk; logits of what is to be said about it."""
        engine, state = self._engine, self._state
        seen, grid = engine.look(chunk.frames, engine.vision_spec)
        self._check_room(len(seen))
        opening: list[Segment] = []
        origin_ns = state.origin_ns if state.round else chunk.start_ns
        if state.round == 0:
            previous = engine.chat_format.encode(engine.settings.prompt.previous_text)
            opening = engine.chat_format.opening(cut(previous, engine.settings.window))
        span_s = ((chunk.start_ns - origin_ns) / NS_PER_S, (chunk.end_ns - origin_ns) / NS_PER_S)
        spans_ns = (*state.spans_ns, (chunk.frames[0].stamp_ns, chunk.newest_ns))
        spans_ns = spans_ns[-engine.settings.window.vision_rounds :]
        self._state = replace(state, origin_ns=origin_ns, span_s=span_s, spans_ns=spans_ns)
        self._evict()
        turn = engine.chat_format.user_turn(
            state.round,
            *span_s,
            grid=grid,
            grid_seconds=engine.grid_seconds,
            question=" ".join(question for question, _ in state.asked),
            instruction="" if state.round else engine.settings.prompt.instruction,
        )
        answers = engine.chat_format.answers(state.round, [answer for _, answer in state.asked])
        self._state = replace(self._state, asked=())
        return self._feed([*opening, *turn, answers], seen)

    def _evict(self) -> None:
        """Let go of what is too old for the round to come; keys take their new positions."""
        state, window = self._state, self._engine.settings.window
        eviction = evict(state.ledger, state.round, window)
        self._keep(eviction)
        pending = state.pending
        if pending and state.round - pending.round >= window.text_rounds:
            pending = None
        self._state = replace(state, ledger=eviction.ledger, pending=pending)

    def _keep(self, eviction: Eviction) -> None:
        """The cache after an eviction: what is left closes ranks."""
        first = eviction.first_moved
        if first < self._cache.length:
            cos, sin = self._engine.decoder.rotation(self._places(eviction.ledger, first))
            sources = torch.tensor(eviction.slots[first:], dtype=torch.long, device=cos.device)
            self._cache.keep(sources, first, cos, sin)

    def _feed(self, segments: Sequence[Segment], seen: Tensor | None = None) -> Tensor:
        """Append what is pending and `segments` to the cache; (vocabulary,) logits of the last."""
        engine, state = self._engine, self._state
        ledger = state.sequence.append(segments)
        start = self._cache.length
        embedded = engine.embed(ledger.ids[start:], seen)
        places = self._places(ledger, start)
        self._position.fill_(float(places.max()))
        self._state = replace(state, ledger=ledger, pending=None)
        return engine.decoder.prefill(embedded, places, self._cache)[0]

    def _places(self, ledger: Ledger, start: int) -> Tensor:
        """(3, tokens) positions of a ledger's tokens from number `start` on."""
        places = positions(ledger, self._engine.tokens_per_second)
        return places[:, start:].to(self._slot.device)

    def _generate(self, logits: Tensor, pause: Callable[[], None]) -> list[int]:
        """Ids up to a stop, all of them in the cache; the caller puts them on the ledger."""
        ids: list[int] = []
        self.sampler.begin(self.ledger.ids)
        while len(ids) < self._engine.settings.sampling.max_new_tokens:
            self._saying = tuple(ids)
            pause()
            token = self.sampler.choose(logits, self.sampling)
            id = int(token)
            if id in self._engine.stop_ids:
                break
            ids.append(id)
            logits = self._advance(token)
        self._saying = None
        return ids

    def _standing(self) -> State:
        """The state for a question asked now: what is being said is cut short for it."""
        if self._saying is None:
            return self._state
        state, chat_format = self._state, self._engine.chat_format
        said = Segment(Kind.NARRATION, self._saying, state.round)
        return replace(
            state, ledger=state.ledger.append([said]), pending=chat_format.cut_short(state.round)
        )

    def _advance(self, token: Tensor) -> Tensor:
        """One token further, with the same shapes every time; (vocabulary,) logits of the next."""
        self._slot.fill_(self._cache.length)
        self._position.add_(1.0)
        self._cache.length += 1
        return self._engine.decoder.step(token, self._position, self._slot, self._cache)[0]

    def _finish_round(self, ids: list[int]) -> None:
        state, chat_format = self._state, self._engine.chat_format
        self._state = replace(
            state,
            ledger=state.ledger.append(chat_format.split_generated(state.round, ids)),
            pending=chat_format.closing(state.round),
            round=state.round + 1,
        )

    def _check_room(self, vision_tokens: int) -> None:
        limit = self._engine.vision_tokens_per_round
        if vision_tokens > limit:
            raise ConfigError(
                f"a chunk became {vision_tokens} vision tokens, but a round has room for {limit}: "
                "raise fps, chunk_seconds or max_frame_tokens to what the source sends"
            )

    def _check_free(self, slots: int, free: int) -> None:
        if slots > free:
            raise QuestionError(
                f"the question and its frames take {slots} tokens, but there is room for {free}: "
                "ask from fewer frames (recent_frames, history_moments, question_frame_tokens)"
            )
