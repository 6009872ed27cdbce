"""Exports that are stopped, resumed and shared; and shares of a check of the data."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import DataError
from streamingvlm_ros.rank import ALONE, Rank
from streamingvlm_ros.recordings.recording import Recording
from streamingvlm_training.data_report import Counts, count_data, merge_counts
from streamingvlm_training.datasets import export as exporting
from streamingvlm_training.datasets.conversations import Conversations
from streamingvlm_training.datasets.export import Exported, export
from streamingvlm_training.datasets.export_cache import CachedClips, ExportCache

from ..support.cli import run
from ..support.world_bags import film
from .exports import CUT, files, inodes, is_incomplete

NAMES = ("one", "three", "two")


@pytest.fixture
def own(bags: Path, tmp_path: Path) -> list[Path]:
    """Copies of the bags and their words, to be changed."""
    shutil.copytree(bags, tmp_path / "bags")
    return [tmp_path / "bags" / name for name in NAMES]


def exported(paths: list[Path], output: Path, *, rank: Rank = ALONE) -> Exported | None:
    return export(paths, output, settings=Settings(), config=CUT, validation=3, rank=rank)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_process_that_ends_last_writes_the_files_of_a_single_process(
    bags: Path, tmp_path: Path, order: tuple[int, int]
) -> None:
    paths = [bags / name for name in NAMES]
    alone = exported(paths, tmp_path / "alone")
    first, last = order
    assert exported(paths, tmp_path / "shared", rank=Rank(first, 2)) is None
    assert not (tmp_path / "shared" / "train.jsonl").exists()
    assert exported(paths, tmp_path / "shared", rank=Rank(last, 2)) == alone
    assert files(tmp_path / "shared") == files(tmp_path / "alone")


def test_a_process_accepts_clips_of_a_later_one_that_has_seen_corrections(
    own: list[Path], tmp_path: Path
) -> None:
    later: list[Exported | None] = []

    def correct_and_share() -> None:
        if not later:
            words = own[1].with_suffix(".jsonl")
            words.write_text(words.read_text().replace("square", "cube"))
            later.append(exported(own, tmp_path / "out", rank=Rank(1, 2)))

    done = export(
        own,
        tmp_path / "out",
        settings=Settings(),
        config=CUT,
        validation=0,
        advance=correct_and_share,
        rank=Rank(0, 2),
    )
    assert done
    assert later == [None]
    assert '"cube"' in (tmp_path / "out" / "train.jsonl").read_text()


def test_a_process_that_is_not_the_last_says_who_writes_the_files(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = run("export", bags, "--output", tmp_path, "--model", "demo")
    assert (done.returncode, done.stdout) == (0, "")
    assert "The last process to finish writes train.jsonl and validation.jsonl." in done.stderr
    monkeypatch.setenv("RANK", "2")
    assert "error: RANK is 2" in run("export", bags, "--output", tmp_path).stderr


def change_words(bag: Path) -> None:
    words = bag.with_suffix(".jsonl")
    words.write_text(words.read_text().replace("rests", "lies"))


def change_recording(bag: Path) -> None:
    shutil.rmtree(bag)
    film(bag, range(90, 99))


def change_nothing_but_frames(bag: Path) -> None:
    """Change raw images, whose size in bytes stays the same."""
    (file,) = bag.glob("*.mcap")
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000))


def truncate_part(bag: Path) -> None:
    truncate(bag.parent.parent / "out" / "parts" / f"{bag.name}.jsonl")


def truncate(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-40])


def remove_video(bag: Path) -> None:
    (bag.parent.parent / "out" / "videos" / f"{bag.name}.mp4").unlink()


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        (lambda bag: None, set()),
        (change_words, {"two.jsonl"}),
        (change_recording, {"two.jsonl", "two.mp4"}),
        (change_nothing_but_frames, {"two.jsonl", "two.mp4"}),
        (truncate_part, {"two.jsonl"}),
        (remove_video, {"two.jsonl", "two.mp4"}),
    ],
    ids=["nothing", "words", "recording", "frames", "end of part", "video"],
)
def test_only_outdated_files_are_exported_again(
    own: list[Path], tmp_path: Path, change: Callable[[Path], None], anew: set[str]
) -> None:
    exported(own, tmp_path / "out")
    for path in list((tmp_path / "out").glob("*/*")):  # an inode in use isn't assigned again
        (tmp_path / path.name).hardlink_to(path)
    before = inodes(tmp_path / "out")
    change(own[2])
    assert exported(own, tmp_path / "out")
    after = inodes(tmp_path / "out")
    assert {name for name in after if after[name] != before[name]} == anew


def test_an_entry_is_loaded_as_it_was_stored_whatever_its_words(bags: Path, tmp_path: Path) -> None:
    cache = ExportCache(tmp_path, {bags / "one": None}, settings=Settings(), config=CUT)
    for lines in ((), ('["half of \ud83d"]', '["\u2028"]')):
        cache.store(bags / "one", CachedClips(lines, "why", ("what", "else")), has_video=False)
        stored = cache.load(bags / "one")
        assert stored
        assert (len(stored.lines), stored.skipped, stored.problems) == (
            len(lines),
            "why",
            ("what", "else"),
        )


def test_a_video_of_an_older_recording_is_replaced_after_an_export_without_words(
    own: list[Path], tmp_path: Path
) -> None:
    exported(own, tmp_path / "out")
    words, film_of_two = own[2].with_suffix(".jsonl"), tmp_path / "out" / "videos" / "two.mp4"
    before = film_of_two.read_bytes()
    change_recording(own[2])
    words.rename(tmp_path / "words")
    skipped = exported(own, tmp_path / "out")
    assert skipped
    assert list(skipped.skipped) == [own[2]]
    (tmp_path / "words").rename(words)
    done = exported(own, tmp_path / "out")
    assert done
    assert not done.skipped
    assert film_of_two.read_bytes() != before


def test_two_exports_to_one_folder_do_not_write_into_each_others_videos(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, drafts = exporting._encode, list[Path]()

    def meanwhile(path: Path, frames: Any, *, start_ns: int) -> None:
        drafts.append(path)
        if len(drafts) == 1:
            path.write_bytes(b"half of one")
            assert exported([bags / "one"], tmp_path)
        encode(path, frames, start_ns=start_ns)

    monkeypatch.setattr(exporting, "_encode", meanwhile)
    assert exported([bags / "one"], tmp_path)
    first, second = drafts
    assert first != second
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["one.mp4"]


def test_a_video_that_fails_leaves_no_file(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half of one")
        raise DataError("no more")

    monkeypatch.setattr(exporting, "_encode", failing)
    with pytest.raises(DataError, match="no more"):
        exported([bags / "one"], tmp_path)
    assert not list((tmp_path / "videos").iterdir())


def test_the_video_of_a_run_that_was_stopped_before_its_entry_was_stored_is_reused(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ExportCache, "store", stopped)
        with pytest.raises(KeyboardInterrupt):
            exported([bags / "one"], tmp_path)
    assert is_incomplete(tmp_path / "parts" / "one.jsonl")
    before = inodes(tmp_path)
    assert list(before) == ["one.mp4"]
    assert exported([bags / "one"], tmp_path)
    assert inodes(tmp_path)["one.mp4"] == before["one.mp4"]


def corrected(bag: Path) -> None:
    """Write every word of a bag's labels in capital letters."""
    words = bag.with_suffix(".jsonl")
    lines = [json.loads(line) for line in words.read_text().splitlines()]
    words.write_text(
        "\n".join(json.dumps({**line, "text": line["text"].upper()}) for line in lines)
    )


def exported_words(output: Path) -> str:
    return "".join(
        word.text for clip in Conversations(output / "train.jsonl") for word in clip.words
    )


def export_while(
    change: Callable[[Path], None], bag: Path, *, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Export a bag that, or whose words, change after its video was encoded."""
    encode = exporting._encode

    def meanwhile(path: Path, frames: Any, *, start_ns: int) -> None:
        encode(path, frames, start_ns=start_ns)
        change(bag)

    with monkeypatch.context() as patched:
        patched.setattr(exporting, "_encode", meanwhile)
        assert exported([bag], output)


def test_words_corrected_while_a_video_is_encoded_are_in_the_next_export(
    own: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_while(corrected, own[0], output=tmp_path / "out", monkeypatch=monkeypatch)
    assert not exported_words(tmp_path / "out").isupper()
    assert exported(own[:1], tmp_path / "out")
    assert exported_words(tmp_path / "out").isupper()


def test_a_bag_that_grows_while_it_is_exported_is_encoded_again_by_the_next(
    own: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_while(change_recording, own[0], output=tmp_path / "out", monkeypatch=monkeypatch)
    film_of_one = tmp_path / "out" / "videos" / "one.mp4"
    before = film_of_one.read_bytes()
    assert exported(own[:1], tmp_path / "out")
    assert film_of_one.read_bytes() != before


def test_another_camera_of_a_bag_is_encoded_again(tmp_path: Path) -> None:
    bag = film(tmp_path / "two", range(4), topics=("/left", "/right"))
    lines = ({"start_s": n, "end_s": n + 1, "text": f"word{n}"} for n in range(4))
    bag.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, lines)))
    inodes_by_export = []
    for topic in ("/left", "/left", "/right"):
        assert export(
            [bag], tmp_path / "out", settings=Settings(), config=CUT, validation=0, topic=topic
        )
        inodes_by_export.append(inodes(tmp_path / "out"))
        film_of_two = (
            tmp_path / "out" / "videos" / "two.mp4"
        )  # an inode in use isn't assigned again
        (tmp_path / f"{len(inodes_by_export)}").hardlink_to(film_of_two)
    left, again, right = inodes_by_export
    assert left == again
    assert again["two.mp4"] != right["two.mp4"]


def test_a_skipped_recording_is_tried_again(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(recording: Recording, *_: object) -> None:
        raise DataError(f"{recording.path}: Stale file handle")

    paths = [bags / name for name in NAMES]
    exported(paths, tmp_path)
    truncate(tmp_path / "parts" / "one.jsonl")
    with monkeypatch.context() as patched:
        patched.setattr(exporting, "load_annotated", unreadable)
        first = exported(paths, tmp_path)
    assert first
    assert first.skipped == {paths[0]: f"{paths[0]}: Stale file handle"}
    again = exported(paths, tmp_path)
    assert again
    assert not again.skipped


def test_an_entry_that_another_process_replaces_meanwhile_is_in_the_files(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the files would lack it if that process had ended first."""
    write_files = exporting._write_files
    cache = ExportCache(tmp_path / "parts", {bags / "one": None}, settings=Settings(), config=CUT)

    def meanwhile(entries: dict[Path, CachedClips], output: Path, **options: Any) -> Exported:
        lines = entries[bags / "one"].lines
        if len(lines) > 1:
            cache.store(bags / "one", CachedClips(lines[:1]), has_video=True)
        return write_files(entries, output, **options)

    monkeypatch.setattr(exporting, "_write_files", meanwhile)
    done = exported([bags / "one", bags / "two"], tmp_path)
    assert done
    assert done.train == {bags / "one": 1}
    assert len(Conversations(tmp_path / "train.jsonl")) == 1


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_shares_of_a_check_together_are_the_check_of_one_process(
    bags: Path, tmp_path: Path, processes: int
) -> None:
    paths = [bags / name for name in NAMES]
    exported(paths, tmp_path)
    (tmp_path / "videos" / "three.mp4").write_bytes(b"")
    clips = tmp_path / "train.jsonl"
    lines = clips.read_text().replace("three.mp4", "one.mp4").splitlines()
    some = (line.replace("videos/", "y/" if n > 3 else "x/") for n, line in enumerate(lines))
    flat = tmp_path / "flat" / "train.jsonl"
    flat.parent.mkdir()
    shutil.copy(tmp_path / "videos" / "one.mp4", flat.parent)
    flat.write_text("\n".join(some))
    sources = [clips, *paths, flat]

    def check(shards: int) -> Counts:
        shares = [
            count_data(sources, "", settings=Settings(), rank=Rank(n, shards))
            for n in range(shards)
        ]
        return merge_counts(sources, shares)

    alone = check(1)
    assert alone.clips > 8
    problems = "\n".join(f"{problem.origin} {problem.what}" for problem in alone.problems)
    assert "three.mp4 is empty" in problems
    assert "one.mp4 stands for 2 videos, such as x/one.mp4, y/one.mp4" in problems
    shared = check(processes)
    assert shared.seconds == pytest.approx(alone.seconds)
    shared.seconds = alone.seconds
    assert shared == alone


def test_a_video_with_several_names_is_reported_once_in_whichever_files_they_are(
    bags: Path, tmp_path: Path
) -> None:
    exported([bags / "one"], tmp_path)
    lines = (tmp_path / "train.jsonl").read_text()
    sources = [tmp_path / f"{name}.jsonl" for name in ("a", "b", "c")]
    for path in sources:
        path.write_text(lines.replace("videos/one.mp4", f"{path.stem}/one.mp4"))
    counts = merge_counts(
        sources, [count_data(sources, str(tmp_path), settings=Settings(), rank=ALONE)]
    )
    video = tmp_path / "videos" / "one.mp4"
    (problem,) = counts.problems
    assert problem.origin == str(video)
    assert "stands for 3 videos, such as a/one.mp4, b/one.mp4" in problem.what
    paths = [*sources, tmp_path / "train.jsonl"]
    by_root = merge_counts(
        paths[-1:], [count_data(paths[-1:], "", settings=Settings(), rank=ALONE)]
    )
    assert not by_root.problems
