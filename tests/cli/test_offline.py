"""Output of `narrate` and `replay`: where it may go, and files that stay unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from streamingvlm_ros.bags.cdr import topic_of
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.cli.narration_formats import Format
from streamingvlm_ros.cli.offline import check_output
from streamingvlm_ros.types import NS_PER_S as S

from ..support.cli import TINY_CHECKPOINT, run
from ..support.world_bags import BEGIN_S, RAW, WORLD, film, message


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return film(tmp_path / "bag", range(2), config=BagConfig(split_s=1))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("recording", [".", "bag_0.mcap"])
@pytest.mark.parametrize("output", [".", "bag_0.mcap", "bag_1.mcap", "metadata.yaml", "new.txt"])
def test_an_output_inside_the_bag_is_rejected(bag: Path, recording: str, output: str) -> None:
    files = contents(bag)
    for format in Format:
        with pytest.raises(typer.BadParameter, match="is the recording itself"):
            check_output(format, bag / output, recording=bag / recording)
    assert contents(bag) == files


def test_an_output_that_links_into_the_bag_is_rejected(bag: Path, tmp_path: Path) -> None:
    (tmp_path / "soft").symlink_to(bag / "bag_1.mcap")
    (tmp_path / "hard").hardlink_to(bag / "bag_1.mcap")
    (tmp_path / "folder").symlink_to(bag)
    files = contents(bag)
    for link in ("soft", "hard", "folder/bag_1.mcap"):
        with pytest.raises(typer.BadParameter, match="is the recording itself"):
            check_output(Format.TEXT, tmp_path / link, recording=bag)
    with pytest.raises(typer.BadParameter, match="is the recording itself"):
        check_output(Format.TEXT, bag / "bag_1.mcap", recording=tmp_path / "folder")
    assert contents(bag) == files


def test_an_output_beside_the_recording_is_accepted(bag: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.mcap"
    alone.write_bytes((bag / "bag_0.mcap").read_bytes())
    for recording in (bag, bag / "bag_0.mcap", alone):
        check_output(Format.VTT, tmp_path / "bag.vtt", recording=recording)


@pytest.mark.parametrize("format", ["text", "vtt", "bag"])
def test_without_narration_the_output_is_unchanged_and_a_warning_says_why(
    tmp_path: Path, format: str
) -> None:
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        image = message(WORLD.frame(0.0, 56, 56), BEGIN_S * S + 3 * S // 4)
        bag.write(topic_of("/image", RAW), S, data=image)
    output = tmp_path / "narration"
    if format != "bag":
        output.write_text("earlier narration")
    options = ("--format", format, "--output", output, "--model", TINY_CHECKPOINT)
    result = run("replay", tmp_path / "bag", *options)
    assert result.returncode == 0, result.stderr
    assert "Nothing was narrated: the images end before the first round" in result.stderr
    assert not output.exists() if format == "bag" else output.read_text() == "earlier narration"
