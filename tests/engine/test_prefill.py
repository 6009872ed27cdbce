"""Prefill in pieces: bounded memory, and the same result as in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from streamingvlm_ros.config import PromptConfig
from streamingvlm_ros.engine import runner as runner_module
from streamingvlm_ros.engine.budget import MAX_INSTRUCTION_TOKENS
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.runner import MAX_PREFILL_TOKENS, Feed, Place, Runner, _passes
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.types import Ask, ChunkPart, Question

from .audience import recent
from .conftest import arenas_of, chunk_of

MakeEngine = Callable[..., StreamingEngine]
LONG = "Describe every single thing. " * 60


def feeds_of(lengths: list[int]) -> list[Feed]:
    return [
        Feed(row, Place(9 * row, 9 * row), torch.full((n, 2), row), torch.arange(3 * n).view(3, n))
        for row, n in enumerate(lengths)
    ]


@given(lengths=st.lists(st.integers(0, 60), min_size=1, max_size=6), limit=st.integers(1, 50))
def test_passes_hold_all_tokens_in_order_within_the_limit(lengths: list[int], limit: int) -> None:
    feeds = feeds_of(lengths)
    passes = list(_passes(feeds, limit))
    assert all(sum(len(piece.embedded) for piece in part) <= limit for part in passes)
    for feed in feeds:
        pieces = [piece for part in passes for piece in part if piece.row == feed.row]
        assert torch.equal(torch.cat([p.embedded for p in pieces]), feed.embedded)
        assert torch.equal(torch.cat([p.positions for p in pieces], dim=1), feed.positions)
        assert [p.opens for p in pieces] == [False] * (len(pieces) - 1) + [True]
        ends = [feed.place.end]
        for piece in pieces:
            assert piece.place.end == ends[-1]
            ends.append(piece.place.end + len(piece.embedded))


def record_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the number of tokens of each pass is added."""
    tokens: list[int] = []
    prefill = Runner._prefill

    def recorded(runner: Runner, feeds: list[Feed]) -> None:
        tokens.append(sum(len(feed.embedded) for feed in feeds))
        prefill(runner, feeds)

    monkeypatch.setattr(Runner, "_prefill", recorded)
    return tokens


def state_after_prefill(engine: StreamingEngine) -> tuple[Tensor, list[Tensor], Tensor]:
    """Return logits, cache and positions after two streams and two questions were fed."""
    one, other = engine.open_stream(), engine.open_stream()
    engine.step([(one, chunk_of(0)), (other, chunk_of(0, seed=1))])
    outcomes: list[Any] = []
    for stream, question in ((one, Question("what is it?")), (other, recent("now?", 0))):
        engine.ask(stream, Ask(question, outcomes.append))
    chunks = [(s, ChunkPart.whole(chunk_of(1, seed=i))) for i, s in enumerate((one, other))]
    engine.see(chunks)  # feeds the questions, too
    runner = engine.runner
    return runner._logits.clone(), [a.clone() for a in arenas_of(engine)], runner._position.clone()


@pytest.mark.parametrize("limit", [5, 64])
def test_pieces_give_the_logits_and_the_cache_of_one_pass(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    logits, arenas, positions = state_after_prefill(make_engine(instruction=LONG))
    monkeypatch.setattr(runner_module, "MAX_PREFILL_TOKENS", limit)
    tokens = record_passes(monkeypatch)
    in_pieces = state_after_prefill(make_engine(instruction=LONG))
    assert max(tokens) == limit
    torch.testing.assert_close(in_pieces[0], logits, rtol=0, atol=1e-5)
    for piecewise, arena in zip(in_pieces[1], arenas, strict=True):
        torch.testing.assert_close(piecewise, arena, rtol=0, atol=1e-5)
    assert torch.equal(in_pieces[2], positions)


def text_of(count: int, engine: StreamingEngine) -> str:
    """Return a text of exactly `count` tokens."""
    unit = len(engine.model.chat_format.encode(",")), len(engine.model.chat_format.encode(",,,,"))
    assert unit == (1, 4)
    return "," * count


def test_the_longest_instruction_is_fed_in_pieces(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    instruction = text_of(MAX_INSTRUCTION_TOKENS, make_engine())
    tokens = record_passes(monkeypatch)
    make_engine(instruction=instruction).open_stream().step(chunk_of(0))
    assert max(tokens) == MAX_PREFILL_TOKENS
    assert sum(tokens) > MAX_INSTRUCTION_TOKENS


@pytest.mark.parametrize(("extra", "words"), [(1, "4,097 tokens, 1 more"), (9_000, "9,000 more")])
def test_a_longer_instruction_is_refused_with_the_number_of_tokens(
    make_engine: MakeEngine, extra: int, words: str
) -> None:
    instruction = text_of(MAX_INSTRUCTION_TOKENS + extra, make_engine())
    with pytest.raises(ConfigError, match=f"^instruction has .*{words}.*previous_text"):
        make_engine(instruction=instruction)


def test_a_streams_own_instruction_is_bounded_too(make_engine: MakeEngine) -> None:
    engine = make_engine()
    settings = engine.settings.updated({"instruction": text_of(5_000, engine)})
    with pytest.raises(ConfigError, match=r"^instruction has 5,000 tokens"):
        engine.open_stream(settings)
    engine.open_stream().step(chunk_of(0))


def test_a_long_previous_text_is_cut_instead(make_engine: MakeEngine) -> None:
    stream = make_engine(previous_text=LONG * 20).open_stream()
    stream.step(chunk_of(0))
    assert stream.cached_tokens < 200


@pytest.mark.parametrize("name", ["instruction", "previous_text"])
def test_text_that_is_no_unicode_is_a_wrong_setting(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is no valid Unicode"):
        PromptConfig(**{name: "a\udcff"})
