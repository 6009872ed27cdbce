"""Decode step without host values: the same tokens as with the host's lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from streamingvlm_ros.config import Settings
from streamingvlm_ros.engine.engine import StreamingEngine
from streamingvlm_ros.engine.model import LoadedModel
from streamingvlm_ros.engine.runner import Runner
from streamingvlm_ros.types import Answer, ChunkPart, Question

from .audience import Audience, recent
from .conftest import SMALL, arenas_of, chunk_of
from .operations import Recorder, ReplayedGraph

MakeEngine = Callable[..., StreamingEngine]
ROUNDS = 34
SAMPLED = {"temperature": 0.9, "top_k": 20, "repetition_penalty": 1.3}


@pytest.fixture
def make_device_engine(loaded: LoadedModel) -> MakeEngine:
    """Return a factory of engines that run as on a GPU: lengths on the device, late reads."""

    def make(**changes: Any) -> StreamingEngine:
        settings = Settings().updated(SMALL | changes)
        return StreamingEngine(loaded, settings, max_streams=2, on_device=True)

    return make


def outputs_of(engine: StreamingEngine) -> list[Any]:
    """Return all text of two streams with questions at intervals."""
    one, other = engine.open_stream(), engine.open_stream()
    outputs: list[Any] = []
    for round in range(ROUNDS):
        if round % 8 == 5:
            audience = Audience()
            audience.put(one, Question("what?"), recent("now?", round))
            audience.put(other, Question("where is it?", max_tokens=9))
            outputs.append(audience.outcomes)
        outputs += engine.step([(one, chunk_of(round)), (other, chunk_of(round, seed=1))])
        outputs.append((one.context_ids, other.context_ids))
    engine.finish(one)
    engine.finish(other)
    assert all(isinstance(a, Answer) for x in outputs if isinstance(x, dict) for a in x.values())
    return outputs


@pytest.mark.parametrize("sampling", [{}, SAMPLED], ids=["greedy", "sampled"])
def test_the_step_on_the_device_gives_the_same_text(
    make_engine: MakeEngine, make_device_engine: MakeEngine, sampling: dict[str, Any]
) -> None:
    eager = outputs_of(make_engine(max_streams=2, **sampling))
    assert outputs_of(make_device_engine(**sampling)) == eager


@pytest.mark.parametrize("sampling", [{}, SAMPLED], ids=["greedy", "sampled"])
def test_a_recorded_and_replayed_step_gives_the_same_text(
    make_device_engine: MakeEngine, sampling: dict[str, Any]
) -> None:
    expected = outputs_of(make_device_engine(**sampling))
    engine = make_device_engine(**sampling)
    engine.runner._graph = graph = ReplayedGraph()
    assert outputs_of(engine) == expected
    assert graph.replays >= 160


def test_a_replayed_step_with_a_host_value_gives_other_text(
    make_device_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that the test above would find such a value."""
    expected = outputs_of(make_device_engine())
    grow = Runner._grow

    def grow_by_the_host(runner: Runner, rows: slice) -> Any:
        spans = grow(runner, rows)
        spans.own_end.fill_(runner.place(0).end + 1)
        return spans

    monkeypatch.setattr(Runner, "_grow", grow_by_the_host)
    engine = make_device_engine()
    engine.runner._graph = ReplayedGraph()
    assert outputs_of(engine) != expected


def test_a_pass_launched_ahead_does_not_move_a_stopped_row(
    make_device_engine: MakeEngine,
) -> None:
    engine = make_device_engine()
    stream = engine.open_stream()
    engine.see([(stream, ChunkPart.whole(chunk_of(0)))])
    while not stream.ready:
        engine.advance()
    runner, place = engine.runner, engine.runner.place(stream.row)
    before = [arena[:, :, : place.end].clone() for arena in arenas_of(engine)]
    with torch.inference_mode():
        for _ in range(3):
            runner.step(slice(0, runner.rows))
    assert int(runner._spans.own_end[stream.row]) == place.end
    after = [arena[:, :, : place.end] for arena in arenas_of(engine)]
    assert all(map(torch.equal, before, after))


def test_a_step_uploads_nothing_and_waits_for_nothing(make_device_engine: MakeEngine) -> None:
    engine = make_device_engine(**SAMPLED)
    stream = engine.open_stream()
    engine.see([(stream, ChunkPart.whole(chunk_of(0)))])
    with torch.inference_mode(), Recorder() as recorder:
        engine.runner.step(slice(0, engine.runner.rows))
    uploads = {"aten::lift_fresh", "aten::_to_copy", "aten::copy_"}
    copied = [op for op in recorder.operations if op.name in uploads]
    assert [op.name for op in copied if op.name != "aten::copy_"] == []
    sources = [op.args[1] for op in copied]
    assert all(isinstance(source, torch.Tensor) and source.numel() > 1 for source in sources)
