"""Whatever one recording's reader raises, the others are exported and trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import ConfigError
from streamingvlm_training import data
from streamingvlm_training.data import UnreadableSource, open_readers
from streamingvlm_training.datasets import export as exporting
from streamingvlm_training.datasets.export import export

from ..support.failing import exceptions, opening_that_fails
from ..support.world_bags import film
from .exports import CUT
from .recordings import annotate

SECONDS = 8
POINTS = ("open", "start_ns", "image_stamps", "chunks", "first chunk", "second chunk")
QUICK = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bags")
    names = ("first", "second")
    return [annotate(film(folder / name, range(SECONDS)), range(SECONDS)) for name in names]


@given(error=exceptions(), point=st.sampled_from(POINTS))
@QUICK
def test_a_recording_whose_reader_fails_is_skipped_by_an_export(
    bags: list[Path],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    point: str,
) -> None:
    output = tmp_path_factory.mktemp("out")
    with monkeypatch.context() as patch:
        failing = opening_that_fails("first", error, point=point)
        patch.setattr(exporting, "open_recording", failing)
        exported = export(bags, output, settings=Settings(), config=CUT, validation=0)
    assert exported is not None
    assert list(exported.skipped) == [bags[0]]
    assert exported.skipped[bags[0]]
    assert list(exported.train) == [bags[1]]


@given(error=exceptions(), point=st.sampled_from(POINTS[:3]))
@QUICK
def test_a_recording_whose_reader_fails_is_left_out_of_training(
    bags: list[Path], monkeypatch: pytest.MonkeyPatch, error: Exception, point: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(data, "open_recording", opening_that_fails("first", error, point=point))
        first, second = open_readers(bags, "", settings=Settings())
    assert isinstance(first, UnreadableSource)
    assert not isinstance(second, UnreadableSource)
    assert len(second)


def test_a_wrong_setting_ends_an_export(
    bags: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = opening_that_fails("first", ConfigError("fps"), point="start_ns")
    monkeypatch.setattr(exporting, "open_recording", failing)
    with pytest.raises(ConfigError):
        export(bags, tmp_path, settings=Settings(), config=CUT, validation=0)
