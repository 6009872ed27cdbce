"""Folders that hold a part of a bag twice, compressed, copied, converted or as a backup."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from streamingvlm_ros.bags.reader import BagReader
from streamingvlm_ros.bags.writer import BagConfig

from .sample_bags import texts, write, write_with_rosbags

SPEECH = [f"speech {n}" for n in range(6)]
COPIES = (
    "bag_0 (copy).mcap",
    "bag_0 (1).mcap",
    "backup_bag_0.mcap",
    "Copy of bag_0.mcap",
    "zz.mcap",
    "0.mcap",
    "bag_0.mcap.bak",
    "bag_0.mcap.zstd",
    "bag_0 (copy).MCAP",
)


def parts(folder: Path) -> Path:
    """Write a bag of three parts."""
    return write(folder, range(6), config=BagConfig(split_s=2, compression="none"))


def copy(source: Path, name: str) -> Path:
    """Copy a part, compressed if the name says so."""
    data = source.read_bytes()
    if name.lower().endswith(".zstd"):
        data = zstandard.ZstdCompressor().compress(data)
    target = source.with_name(name)
    target.write_bytes(data)
    return target


def speech_and_losses(bag: Path) -> tuple[list[str], dict[str, str]]:
    with BagReader(bag) as reader:
        read = texts(bag, "/speech")
        list(reader.messages())
        return read, reader.losses


@pytest.mark.parametrize("has_metadata", [True, False])
@pytest.mark.parametrize("name", COPIES)
def test_a_copied_part_is_read_once_and_named(
    tmp_path: Path, name: str, has_metadata: bool
) -> None:
    bag = parts(tmp_path / "bag")
    copy(bag / "bag_0.mcap", name)
    if not has_metadata:
        (bag / "metadata.yaml").unlink()
    read, losses = speech_and_losses(bag)
    assert sorted(read) == SPEECH
    assert list(losses.values()) in (
        ["left out: it is a copy of bag_0.mcap"],
        [f"left out: it is a copy of {name}"],
    )
    if has_metadata:
        assert (read, list(losses)) == (SPEECH, [name])


@pytest.mark.parametrize("storage", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
@pytest.mark.parametrize("has_metadata", [True, False])
def test_a_file_decompressed_beside_its_original_is_read_once(
    tmp_path: Path, storage: StoragePlugin, has_metadata: bool
) -> None:
    bag = write_with_rosbags(tmp_path / "bag", storage, compression=CompressionMode.FILE)
    (packed,) = bag.glob("*.zstd")
    plain = zstandard.ZstdDecompressor().stream_reader(packed.read_bytes()).readall()
    (bag / packed.stem).write_bytes(plain)
    if not has_metadata:
        (bag / "metadata.yaml").unlink()
    read, losses = speech_and_losses(bag)
    assert read == [f"speech {n}" for n in range(20)]
    assert list(losses) == [packed.stem if has_metadata else packed.name]


def test_a_part_that_was_also_converted_is_read_once(tmp_path: Path) -> None:
    none = CompressionMode.NONE
    bag = write_with_rosbags(tmp_path / "bag", StoragePlugin.SQLITE3, compression=none)
    other = write_with_rosbags(tmp_path / "other", StoragePlugin.MCAP, compression=none)
    shutil.copy(other / "other.mcap", bag)
    read, losses = speech_and_losses(bag)
    assert read == [f"speech {n}" for n in range(20)]
    assert list(losses) == ["other.mcap"]


def break_text(file: Path) -> None:
    data = file.read_bytes()
    assert b"speech 1" in data
    file.write_bytes(data.replace(b"speech 1", b"spe3ch 1"))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a wrong byte": break_text,
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:-60]),
    "empty": lambda file: file.write_bytes(b""),
    "deleted": Path.unlink,
}


@pytest.mark.parametrize("name", [name for name in COPIES if name not in ("zz.mcap", "0.mcap")])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_part_is_read_from_its_copy(
    tmp_path: Path, damage: Callable[[Path], object], name: str
) -> None:
    bag = parts(tmp_path / "bag")
    copy(bag / "bag_0.mcap", name)
    damage(bag / "bag_0.mcap")
    read, losses = speech_and_losses(bag)
    assert read == SPEECH
    assert losses["bag_0.mcap"].endswith(f"{name}, a copy of it, is read instead")


@pytest.mark.parametrize("damage", [DAMAGES["a wrong byte"], DAMAGES["cut off"], DAMAGES["empty"]])
@pytest.mark.parametrize("has_metadata", [True, False])
def test_a_damaged_copy_is_left_out(
    tmp_path: Path, damage: Callable[[Path], object], has_metadata: bool
) -> None:
    bag = parts(tmp_path / "bag")
    damage(copy(bag / "bag_0.mcap", "bag_0 (copy).mcap"))
    if not has_metadata:
        (bag / "metadata.yaml").unlink()
    read, losses = speech_and_losses(bag)
    assert (read, list(losses)) == (SPEECH, ["bag_0 (copy).mcap"])


def test_a_part_of_another_bag_is_left_out_if_metadata_does_not_list_it(tmp_path: Path) -> None:
    bag = parts(tmp_path / "bag")
    other = write(tmp_path / "other", range(50, 52))
    shutil.copy(other / "other_0.mcap", bag)
    read, losses = speech_and_losses(bag)
    assert read == SPEECH
    assert losses == {"other_0.mcap": "left out: metadata.yaml does not list it"}


def test_the_last_parts_of_a_killed_recorder_are_read_although_they_are_not_listed(
    tmp_path: Path,
) -> None:
    bag = parts(tmp_path / "bag")
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("- bag_2.mcap\n", ""))
    assert speech_and_losses(bag) == (SPEECH, {})


def test_a_renamed_file_is_read_if_nothing_listed_is_left(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", range(6))
    (bag / "bag_0.mcap").rename(bag / "drive.mcap")
    read, losses = speech_and_losses(bag)
    assert (read, list(losses)) == (SPEECH, ["bag_0.mcap"])


def test_hidden_files_of_other_programs_are_not_mentioned(tmp_path: Path) -> None:
    bag = parts(tmp_path / "bag")
    for name in ("._bag_0.mcap", ".bag_0.mcap.swp"):
        (bag / name).write_bytes(b"no bag")
    assert speech_and_losses(bag) == (SPEECH, {})


@pytest.mark.parametrize("suffix", [".MCAP", ".Mcap.ZSTD"])
def test_a_bags_files_may_end_in_capitals(tmp_path: Path, suffix: str) -> None:
    bag = parts(tmp_path / "bag")
    (bag / "metadata.yaml").unlink()
    for part in sorted(bag.iterdir()):
        copy(part, f"{part.stem}{suffix}")
        part.unlink()
    assert speech_and_losses(bag) == (SPEECH, {})
    assert texts(bag / f"bag_0{suffix}", "/speech") == SPEECH[:2]
