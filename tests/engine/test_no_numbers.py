"""A model that computes NaN or infinity is an error, not a narration."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import LoadedModel
from streamingvlm_ros.errors import ModelError
from streamingvlm_ros.types import Answer, Ask, ChunkPart, Question

from .conftest import SMALL, chunk_of

MakeEngine = Callable[..., StreamingEngine]
SAMPLED = {"temperature": 0.9, "top_k": 20, "top_p": 0.9}
NO_NUMBERS = "no numbers \\(NaN or infinity\\).*float16.*dtype"


@pytest.fixture(params=[False, True], ids=["host", "device"])
def make(request: pytest.FixtureRequest, loaded: LoadedModel) -> MakeEngine:
    """Return a factory of engines with weights of their own."""

    def make(**changes: Any) -> StreamingEngine:
        own = LoadedModel(deepcopy(loaded.model), loaded.tokenizer)
        settings = Settings().updated(SMALL | changes)
        return StreamingEngine(own, settings, max_streams=2, on_device=request.param)

    return make


def weights_of(engine: StreamingEngine, part: str) -> torch.Tensor:
    decoder = engine.model.decoder
    weights = {"embeddings": decoder._embed, "norm": decoder._norm, "head": decoder._head}
    tensor: torch.Tensor = weights[part].weight.data
    return tensor


@pytest.mark.parametrize("part", ["embeddings", "norm", "head"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("sampling", [{}, SAMPLED], ids=["greedy", "sampled"])
def test_a_narration_without_numbers_is_an_error(
    make: MakeEngine, part: str, value: float, sampling: dict[str, Any]
) -> None:
    engine = make(**sampling)
    weights_of(engine, part).fill_(value)
    with pytest.raises(ModelError, match=NO_NUMBERS):
        engine.open_stream().step(chunk_of(0))


def test_one_number_that_is_none_is_enough(make: MakeEngine) -> None:
    engine = make()
    weights_of(engine, "head")[200, 3] = float("nan")
    with pytest.raises(ModelError, match=NO_NUMBERS):
        engine.open_stream().step(chunk_of(0))


def test_it_is_noticed_in_the_middle_of_a_narration(make: MakeEngine) -> None:
    engine = make()
    stream = engine.open_stream()
    engine.see([(stream, ChunkPart.whole(chunk_of(0)))])
    weights_of(engine, "embeddings").fill_(float("nan"))  # those of the tokens to come
    with pytest.raises(ModelError, match=NO_NUMBERS):
        engine.finish(stream)
    assert engine.take_rounds() == []


def test_a_question_gets_the_error_too(make: MakeEngine) -> None:
    engine = make()
    one, other = engine.open_stream(), engine.open_stream()
    engine.step([(one, chunk_of(0)), (other, chunk_of(0, seed=1))])
    weights_of(engine, "norm").fill_(float("nan"))
    outcomes: list[Any] = []
    for stream in (one, other):
        engine.ask(stream, Ask(Question("what?"), outcomes.append))
    with pytest.raises(ModelError, match=NO_NUMBERS):
        engine.finish(one)
    assert [type(outcome) for outcome in outcomes] == [ModelError, ModelError]
    assert not engine.busy


def test_afterwards_the_engine_is_as_new(make: MakeEngine) -> None:
    """Nothing that was no number stays in the cache."""
    engine, fresh = make(), make()
    stream = engine.open_stream()
    stream.step(chunk_of(0))
    weights = weights_of(engine, "embeddings")  # so that it reaches the cache
    sound = weights.clone()
    weights.fill_(float("nan"))
    with pytest.raises(ModelError):
        stream.ask("what?")
    weights.copy_(sound)
    assert all(bool(arena.isfinite().all()) for arena in engine.runner.cache._arenas)
    expected = fresh.open_stream()
    for round in range(6):
        assert stream.step(chunk_of(round)).text == expected.step(chunk_of(round)).text
    answer = stream.ask("what?")
    assert isinstance(answer, Answer)
    assert answer.text == expected.ask("what?").text
