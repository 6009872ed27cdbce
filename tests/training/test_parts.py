"""An export that is stopped, gone on with and shared; and shares of what is checked, as one."""

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
from streamingvlm_training.data_report import Counts, count, total
from streamingvlm_training.datasets import export as exporting
from streamingvlm_training.datasets.conversations import Conversations
from streamingvlm_training.datasets.export import Exported, export
from streamingvlm_training.datasets.export_cache import Part, Parts

from ..recordings.scene import film
from ..support.cli import run
from .exports import CUT, files, inodes, only_begun

NAMES = ("one", "three", "two")


@pytest.fixture
def own(bags: Path, tmp_path: Path) -> list[Path]:
    """Copies of the bags and their words, to be changed."""
    shutil.copytree(bags, tmp_path / "bags")
    return [tmp_path / "bags" / name for name in NAMES]


def exported(paths: list[Path], output: Path, rank: Rank = ALONE) -> Exported | None:
    return export(paths, output, Settings(), CUT, 3, rank=rank)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_whichever_process_ends_last_writes_what_one_would_have(
    bags: Path, tmp_path: Path, order: tuple[int, int]
) -> None:
    paths = [bags / name for name in NAMES]
    alone = exported(paths, tmp_path / "alone")
    first, last = order
    assert exported(paths, tmp_path / "shared", Rank(first, 2)) is None
    assert not (tmp_path / "shared" / "train.jsonl").exists()
    assert exported(paths, tmp_path / "shared", Rank(last, 2)) == alone
    assert files(tmp_path / "shared") == files(tmp_path / "alone")


def test_a_process_takes_what_a_later_one_found_corrected(own: list[Path], tmp_path: Path) -> None:
    later: list[Exported | None] = []

    def correct_and_share() -> None:
        if not later:
            words = own[1].with_suffix(".jsonl")
            words.write_text(words.read_text().replace("square", "cube"))
            later.append(exported(own, tmp_path / "out", Rank(1, 2)))

    done = export(own, tmp_path / "out", Settings(), CUT, 0, correct_and_share, Rank(0, 2))
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
    assert "The process that ends last writes train.jsonl and validation.jsonl." in done.stderr
    monkeypatch.setenv("RANK", "2")
    assert "error: RANK is 2" in run("export", bags, "--output", tmp_path).stderr


def change_words(bag: Path) -> None:
    words = bag.with_suffix(".jsonl")
    words.write_text(words.read_text().replace("rests", "lies"))


def change_recording(bag: Path) -> None:
    shutil.rmtree(bag)
    film(bag, range(90, 99))


def change_nothing_but_frames(bag: Path) -> None:
    """As raw images are: other ones have as many bytes."""
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
def test_what_is_there_is_made_again_only_if_it_does_not_hold(
    own: list[Path], tmp_path: Path, change: Callable[[Path], None], anew: set[str]
) -> None:
    exported(own, tmp_path / "out")
    for path in list((tmp_path / "out").glob("*/*")):  # an inode that is in use isn't given anew
        (tmp_path / path.name).hardlink_to(path)
    before = inodes(tmp_path / "out")
    change(own[2])
    assert exported(own, tmp_path / "out")
    after = inodes(tmp_path / "out")
    assert {name for name in after if after[name] != before[name]} == anew


def test_a_part_is_read_as_it_was_kept_whatever_its_words(bags: Path, tmp_path: Path) -> None:
    parts = Parts(tmp_path, {bags / "one": None}, Settings(), CUT)
    for lines in ((), ('["half of \ud83d"]', '["\u2028"]')):
        parts.keep(bags / "one", Part(lines, "why", ("what", "else")), filmed=False)
        kept = parts.kept(bags / "one")
        assert kept
        assert (len(kept.lines), kept.skipped, kept.problems) == (
            len(lines),
            "why",
            ("what", "else"),
        )


def test_a_film_of_another_recording_is_not_kept_while_that_has_no_words(
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


def test_two_exports_of_one_folder_do_not_write_into_each_others_films(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, drafts = exporting._encode, list[Path]()

    def meanwhile(path: Path, frames: Any, start_ns: int) -> None:
        drafts.append(path)
        if len(drafts) == 1:
            path.write_bytes(b"half of one")
            assert exported([bags / "one"], tmp_path)
        encode(path, frames, start_ns)

    monkeypatch.setattr(exporting, "_encode", meanwhile)
    assert exported([bags / "one"], tmp_path)
    first, second = drafts
    assert first != second
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["one.mp4"]


def test_a_film_that_fails_leaves_nothing(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path, *_: object) -> None:
        path.write_bytes(b"half of one")
        raise DataError("no more")

    monkeypatch.setattr(exporting, "_encode", failing)
    with pytest.raises(DataError, match="no more"):
        exported([bags / "one"], tmp_path)
    assert not list((tmp_path / "videos").iterdir())


def test_a_film_of_a_run_that_was_stopped_before_its_part_was_kept_is_taken(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Parts, "keep", stopped)
        with pytest.raises(KeyboardInterrupt):
            exported([bags / "one"], tmp_path)
    assert only_begun(tmp_path / "parts" / "one.jsonl")
    before = inodes(tmp_path)
    assert list(before) == ["one.mp4"]
    assert exported([bags / "one"], tmp_path)
    assert inodes(tmp_path)["one.mp4"] == before["one.mp4"]


def corrected(bag: Path) -> None:
    """Every word of it in capital letters."""
    words = bag.with_suffix(".jsonl")
    lines = [json.loads(line) for line in words.read_text().splitlines()]
    words.write_text("\n".join(json.dumps({**its, "text": its["text"].upper()}) for its in lines))


def said_in(output: Path) -> str:
    return "".join(
        word.text for clip in Conversations(output / "train.jsonl") for word in clip.words
    )


def export_while(
    change: Callable[[Path], None], bag: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export during which the bag, or its words, change after it was filmed."""
    encode = exporting._encode

    def meanwhile(path: Path, frames: Any, start_ns: int) -> None:
        encode(path, frames, start_ns)
        change(bag)

    with monkeypatch.context() as patched:
        patched.setattr(exporting, "_encode", meanwhile)
        assert exported([bag], output)


def test_what_is_corrected_while_an_export_films_is_in_the_next(
    own: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_while(corrected, own[0], tmp_path / "out", monkeypatch)
    assert not said_in(tmp_path / "out").isupper()
    assert exported(own[:1], tmp_path / "out")
    assert said_in(tmp_path / "out").isupper()


def test_a_bag_that_grows_while_it_is_exported_is_filmed_anew_by_the_next(
    own: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_while(change_recording, own[0], tmp_path / "out", monkeypatch)
    film_of_one = tmp_path / "out" / "videos" / "one.mp4"
    before = film_of_one.read_bytes()
    assert exported(own[:1], tmp_path / "out")
    assert film_of_one.read_bytes() != before


def test_another_camera_of_a_bag_is_filmed_anew(tmp_path: Path) -> None:
    bag = film(tmp_path / "two", range(4), topics=("/left", "/right"))
    lines = ({"start_s": n, "end_s": n + 1, "text": f"word{n}"} for n in range(4))
    bag.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = []
    for topic in ("/left", "/left", "/right"):
        assert export([bag], tmp_path / "out", Settings(), CUT, 0, topic=topic)
        found.append(inodes(tmp_path / "out"))
        film_of_two = tmp_path / "out" / "videos" / "two.mp4"  # one in use isn't given anew
        (tmp_path / f"{len(found)}").hardlink_to(film_of_two)
    assert found[0] == found[1]
    assert found[1]["two.mp4"] != found[2]["two.mp4"]


def test_what_was_skipped_is_tried_again(
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


def test_a_part_that_another_process_makes_anew_meanwhile_is_in_the_files(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the files would lack it, if that process saw them complete and ended before."""
    written = exporting._written
    parts = Parts(tmp_path / "parts", {bags / "one": None}, Settings(), CUT)

    def meanwhile(found: dict[Path, Part], *others: Any) -> Exported:
        if len(found[bags / "one"].lines) > 1:
            parts.keep(bags / "one", Part(found[bags / "one"].lines[:1]), filmed=True)
        return written(found, *others)

    monkeypatch.setattr(exporting, "_written", meanwhile)
    done = exported([bags / "one", bags / "two"], tmp_path)
    assert done
    assert done.train == {bags / "one": 1}
    assert len(Conversations(tmp_path / "train.jsonl")) == 1


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_shares_of_what_is_checked_are_together_what_one_process_finds(
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

    def found(shards: int) -> Counts:
        its = [count(sources, "", Settings(), Rank(n, shards)) for n in range(shards)]
        return total(sources, its)

    alone = found(1)
    assert alone.clips > 8
    problems = "\n".join(f"{its.origin} {its.what}" for its in alone.problems)
    assert "three.mp4 is empty" in problems
    assert "one.mp4 stands for 2 videos, such as x/one.mp4, y/one.mp4" in problems
    shared = found(processes)
    assert shared.seconds == pytest.approx(alone.seconds)
    shared.seconds = alone.seconds
    assert shared == alone


def test_a_video_that_several_names_stand_for_is_told_once_whichever_file_has_them(
    bags: Path, tmp_path: Path
) -> None:
    exported([bags / "one"], tmp_path)
    lines = (tmp_path / "train.jsonl").read_text()
    sources = [tmp_path / f"{name}.jsonl" for name in ("a", "b", "c")]
    for path in sources:
        path.write_text(lines.replace("videos/one.mp4", f"{path.stem}/one.mp4"))
    found = total(sources, [count(sources, str(tmp_path), Settings(), ALONE)])
    video = tmp_path / "videos" / "one.mp4"
    (problem,) = found.problems
    assert problem.origin == str(video)
    assert "stands for 3 videos, such as a/one.mp4, b/one.mp4" in problem.what
    paths = [*sources, tmp_path / "train.jsonl"]
    by_root = total(paths[-1:], [count(paths[-1:], "", Settings(), ALONE)])
    assert not by_root.problems
