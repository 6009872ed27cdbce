"""What `narrate` and `replay` write to, and what they leave alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from streamingvlm_ros.bags.cdr import topic_of
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.cli.narration_formats import Format
from streamingvlm_ros.cli.offline import check_output
from streamingvlm_ros.types import NS_PER_S as S

from ..recordings.scene import BEGIN_S, RAW, WORLD, film, message
from ..support.cli import TINY_CHECKPOINT, run


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return film(tmp_path / "bag", range(2), config=BagConfig(split_s=1))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("read", [".", "bag_0.mcap"])
@pytest.mark.parametrize("written", [".", "bag_0.mcap", "bag_1.mcap", "metadata.yaml", "new.txt"])
def test_nothing_is_written_into_the_bag_that_is_read(bag: Path, read: str, written: str) -> None:
    before = contents(bag)
    for format in Format:
        with pytest.raises(typer.BadParameter, match="is the recording itself"):
            check_output(format, bag / written, bag / read)
    assert contents(bag) == before


def test_nothing_is_written_through_a_link_to_the_bag(bag: Path, tmp_path: Path) -> None:
    (tmp_path / "soft").symlink_to(bag / "bag_1.mcap")
    (tmp_path / "hard").hardlink_to(bag / "bag_1.mcap")
    (tmp_path / "folder").symlink_to(bag)
    before = contents(bag)
    for link in ("soft", "hard", "folder/bag_1.mcap"):
        with pytest.raises(typer.BadParameter, match="is the recording itself"):
            check_output(Format.TEXT, tmp_path / link, bag)
    with pytest.raises(typer.BadParameter, match="is the recording itself"):
        check_output(Format.TEXT, bag / "bag_1.mcap", tmp_path / "folder")
    assert contents(bag) == before


def test_beside_a_recording_there_is_room(bag: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.mcap"
    alone.write_bytes((bag / "bag_0.mcap").read_bytes())
    for recording in (bag, bag / "bag_0.mcap", alone):
        check_output(Format.VTT, tmp_path / "bag.vtt", recording)


@pytest.mark.parametrize("format", ["text", "vtt", "bag"])
def test_where_nothing_is_narrated_nothing_is_written_and_that_is_said(
    tmp_path: Path, format: str
) -> None:
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        image = message(WORLD.frame(0.0, 56, 56), BEGIN_S * S + 3 * S // 4)
        bag.write(topic_of("/image", RAW), S, data=image)
    output = tmp_path / "said"
    if format != "bag":
        output.write_text("said before")
    given = ("--format", format, "--output", output, "--model", TINY_CHECKPOINT)
    result = run("replay", tmp_path / "bag", *given)
    assert result.returncode == 0, result.stderr
    assert "Nothing was narrated: the images end before a whole round has begun" in result.stderr
    assert not output.exists() if format == "bag" else output.read_text() == "said before"
