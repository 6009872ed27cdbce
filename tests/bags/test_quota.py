"""The bags that a recorder deletes, and above all those that it does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamingvlm_ros.atomic_write import write_text
from streamingvlm_ros.bags.cdr import topic_of
from streamingvlm_ros.bags.quota import ClipQuota, Quota, dated_path, is_own_bag, locked_folder
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.errors import BagError
from streamingvlm_ros.types import NS_PER_S as S

from .sample_bags import STRING, write

CONFIG = BagConfig(compression="none")
SPEECH = topic_of("/speech", STRING)


def bag_at(folder: Path, name: str, *, size: int = 10_000) -> Path:
    with BagWriter(folder / name, CONFIG) as bag:
        bag.write(SPEECH, S, data=bytes(size))
    return folder / name


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_oldest_bags_are_deleted_until_the_rest_fits(tmp_path: Path) -> None:
    for day in (3, 1, 4, 2):
        bag_at(tmp_path, f"2026-01-0{day}-120000")
    with BagWriter(tmp_path / "2026-01-05-120000", CONFIG) as bag:
        Quota(tmp_path, 0, max_bytes=25_000).trim(bag)
    assert names_in(tmp_path) == [f"2026-01-0{day}-120000" for day in (3, 4, 5)]


def test_nothing_but_a_recorders_finished_bags_is_deleted(tmp_path: Path) -> None:
    annotated = bag_at(tmp_path, "2026-01-01-120000")
    (annotated / "notes.txt").write_text("the good one")
    write(tmp_path / "mine", range(3))
    (tmp_path / "2026-01-02-120000").mkdir()
    (tmp_path / "2026-01-03-120000").write_text("a letter")
    bag_at(tmp_path / "clips", "2026-01-04-120000-red-ball")
    elsewhere = bag_at(tmp_path / "elsewhere", "2026-01-05-120000")
    (tmp_path / "2026-01-05-120000").symlink_to(elsewhere)
    written = bag_at(tmp_path, "2026-01-06-120000")
    before = names_in(tmp_path)
    with locked_folder(written), BagWriter(tmp_path / "2026-01-07-120000", CONFIG) as bag:
        bag.write(SPEECH, S, data=bytes(10_000))
        bag.flush()
        with pytest.raises(BagError, match="raise quota_gb, or lower split_mb"):
            Quota(tmp_path, 0, max_bytes=5000).trim(bag)
    assert set(names_in(tmp_path)) == {*before, "2026-01-07-120000"}
    assert (written / "2026-01-06-120000_0.mcap").exists()
    assert (elsewhere / "2026-01-05-120000_0.mcap").exists()


def test_a_long_bag_loses_its_own_oldest_files(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "2026-01-07-120000", BagConfig(compression="none", split_s=1)) as bag:
        for second in range(6):
            bag.write(SPEECH, second * S, data=bytes(10_000))
        bag.flush()
        Quota(tmp_path, 0, max_bytes=35_000).trim(bag)
        files = [f"2026-01-07-120000_{n}.mcap" for n in (3, 4, 5)]
        assert names_in(bag.folder) == [*files, "metadata.yaml"]


def test_a_bag_of_a_recorder_killed_while_writing_metadata_is_deleted_like_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = bag_at(tmp_path, "2026-01-01-120000")
    # Like a killed process, which cleans nothing up.
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    monkeypatch.setattr(Path, "replace", lambda *_: None)
    write_text(killed / "metadata.yaml", "half of one")
    monkeypatch.undo()
    assert len(names_in(killed)) == 3
    with BagWriter(tmp_path / "2026-01-02-120000", CONFIG) as bag:
        bag.write(SPEECH, S, data=bytes(10_000))
        bag.flush()
        Quota(tmp_path, 0, max_bytes=15_000).trim(bag)
    assert names_in(tmp_path) == ["2026-01-02-120000"]


def test_saved_clips_count_and_older_bags_go_for_them(tmp_path: Path) -> None:
    bag_at(tmp_path, "2026-01-01-120000")
    bag_at(tmp_path, "2026-01-02-120000")
    clip = bag_at(tmp_path / "clips", "2025-12-01-120000-red-ball")
    (clip / "clip.jsonl").write_text("words " * 100)
    with BagWriter(tmp_path / "2026-01-03-120000", CONFIG) as bag:
        Quota(tmp_path, 0, max_bytes=25_000).trim(bag)
    assert names_in(tmp_path) == ["2026-01-02-120000", "2026-01-03-120000", "clips"]
    assert names_in(clip) == ["2025-12-01-120000-red-ball_0.mcap", "clip.jsonl", "metadata.yaml"]


def test_clips_that_leave_no_room_for_a_recording_are_named_in_the_error(tmp_path: Path) -> None:
    bag_at(tmp_path / "clips", "2026-01-01-120000", size=3_000_000)
    with BagWriter(tmp_path / "2026-01-02-120000", CONFIG) as bag:
        bag.write(SPEECH, S, data=bytes(10_000))
        bag.flush()
        with pytest.raises(BagError, match=r"beside 4 MB of saved clips.*or move clips away"):
            Quota(tmp_path, 0, max_bytes=2_000_000).trim(bag)


def test_clips_on_another_disk_are_not_counted(tmp_path: Path) -> None:
    bag_at(tmp_path / "elsewhere", "2026-01-01-120000-red-ball")
    (tmp_path / "bags").mkdir()
    (tmp_path / "bags" / "clips").symlink_to(tmp_path / "elsewhere")
    ClipQuota(tmp_path / "bags", 0, max_clip_bytes=0).check_clips(0)


def test_a_clip_may_fill_its_part_of_the_quota_but_no_more(tmp_path: Path) -> None:
    quota = ClipQuota(tmp_path, 0, max_clip_bytes=25_000)
    quota.check_disk(25_000)
    bag_at(tmp_path / "clips", "2026-01-01-120000")
    quota.check_disk(10_000)
    with pytest.raises(BagError, match=r"clips take 1 MB.*leaves them 1 MB.*raise quota_gb"):
        quota.check_disk(15_000)
    ClipQuota(tmp_path, 0).check_disk(10**9)


def test_without_a_quota_nothing_is_deleted(tmp_path: Path) -> None:
    bag_at(tmp_path, "2026-01-01-120000")
    with BagWriter(tmp_path / "2026-01-07-120000", CONFIG) as bag:
        Quota(tmp_path, 0).trim(bag)
    assert len(names_in(tmp_path)) == 2


def test_too_little_free_space_is_an_error(tmp_path: Path) -> None:
    Quota(tmp_path, 1).check_disk(1000)
    Quota(tmp_path, 0).check_disk(10**18)
    with pytest.raises(BagError, match="less than 1000000000000 MB would stay free on the disk of"):
        Quota(tmp_path, 10**18).check_disk(0)
    with pytest.raises(BagError, match="lower keep_free_mb"):
        Quota(tmp_path, 1).check_disk(10**18)


def test_two_bags_of_one_second_have_different_names_and_both_are_recognised(
    tmp_path: Path,
) -> None:
    first = dated_path(tmp_path)
    bag_at(tmp_path, first.name)
    second = bag_at(tmp_path, dated_path(tmp_path).name)
    assert first != second
    assert is_own_bag(first)
    assert is_own_bag(second)
    assert re.match(r"\d{4}-\d\d-\d\d-\d{6}", first.name)
