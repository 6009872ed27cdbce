"""Export of recordings: videos of the frames that a model sees, and files of conversations.

The format is that of the authors of StreamingVLM (see `conversations`): an export can be moved,
mixed with their data, and read by their trainer.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av

from streamingvlm_ros.atomic_write import DISK_FULL, atomic_path
from streamingvlm_ros.config import FrameConfig, Settings
from streamingvlm_ros.errors import DataError
from streamingvlm_ros.rank import ALONE, Rank
from streamingvlm_ros.recordings.folder import annotation_paths, name_of
from streamingvlm_ros.recordings.recording import Recording, is_bag, open_recording
from streamingvlm_ros.recordings.skipping import skip_reason
from streamingvlm_ros.types import NS_PER_S, Chunk, Frame

from .check import Checker
from .conversations import line_of, write_conversations
from .cutting import AnnotatedRecording, CutConfig, cut, load_annotated
from .export_cache import CachedClips, ExportCache
from .record import ClipRecord

VIDEOS, PARTS = "videos", "parts"
TRAIN, VALIDATION = "train.jsonl", "validation.jsonl"
_FILES = (TRAIN, "train_seeks.jsonl", VALIDATION, "validation_seeks.jsonl")
"""The exported files, with the offsets that `conversations` writes beside them."""

_CODEC = "libx264"
_QUALITY = {"crf": "12", "preset": "veryfast"}
"""Nearly lossless: a model learns from these pictures, nobody watches them."""
_TICKS = 90_000
"""Ticks per second of the frames' stamps: the usual number in containers."""


@dataclass(frozen=True)
class Exported:
    """The number of clips of each recording, and why other recordings are left out.

    `problems` should be looked at; their clips are exported. `others` are the names of recordings
    that an earlier export has left here and that are not in the files.
    """

    train: dict[Path, int]
    validation: dict[Path, int]
    skipped: dict[Path, str]
    problems: dict[Path, list[str]]
    others: list[str]


def export(
    recordings: Sequence[Path],
    output: Path,
    *,
    settings: Settings,
    config: CutConfig,
    validation: int,
    advance: Callable[[], None] = lambda: None,
    rank: Rank = ALONE,
    topic: str | None = None,
) -> Exported | None:
    """Write `output`/videos, train.jsonl and validation.jsonl.

    About every `validation`-th recording is for validation, with all of its clips: they are too
    alike to be on both sides. 0 leaves all to training. The recording's name decides, so that
    recordings stay on their side when others are added; of two or more, each side has one. Only
    recordings that have changed, or whose words have, are exported again. `advance` is called
    after each. `topic` is the camera of bags, None if each has only one.

    Each of several processes exports its share. The last one to finish writes the files; the
    others return None.

    Raises:
        DataError: no recording can be used; or the export would overwrite a file that it hasn't
            created, and then nothing is written.
        OSError: the disk is full.
    """
    duplicates = [name for name, n in Counter(map(name_of, recordings)).items() if n > 1]
    if duplicates:
        raise DataError(f"several recordings are called {', '.join(duplicates)}: rename them")
    cameras = {path: topic if is_bag(path) else None for path in recordings}
    cache = ExportCache(output / PARTS, cameras, settings=settings, config=config)
    _check_output(recordings, output, cache=cache)
    for path in share(recordings, rank):
        video = _video(output, path)
        if not cache.video_is_current(path):
            video.unlink(missing_ok=True)
        cached = cache.load(path)
        if cached is None or cached.skipped or not video.exists():
            cache.reserve(path)
            clips = _export_one(path, cameras[path], video=video, settings=settings, config=config)
            cache.store(path, clips, has_video=video.exists())
        advance()
    return _finish(output, cache, validation=validation)


def share(recordings: Sequence[Path], rank: Rank) -> Sequence[Path]:
    """Return the recordings that one of several processes exports."""
    return recordings[rank.number :: rank.count]


def _video(output: Path, path: Path) -> Path:
    return output / VIDEOS / f"{name_of(path)}.mp4"


def _check_output(recordings: Sequence[Path], output: Path, *, cache: ExportCache) -> None:
    """Raise DataError if the export would overwrite its input or a file that it didn't create."""
    outputs = [output / name for name in _FILES]
    outputs += [file for path in recordings for file in (_video(output, path), cache.entry(path))]
    inputs = {
        os.path.realpath(file) for path in recordings for file in (path, *annotation_paths(path))
    }
    for file in outputs:
        if os.path.realpath(file) in inputs:
            raise DataError(
                f"the export would overwrite {file}, a recording or its labels: name another "
                "--output"
            )
    foreign = next(_foreign_files(recordings, output, cache=cache), None)
    if foreign:
        raise DataError(
            f"{foreign} already exists, and no export listed in {output / PARTS} created it: "
            "move it, or name another --output"
        )


def _foreign_files(
    recordings: Sequence[Path], output: Path, *, cache: ExportCache
) -> Iterator[Path]:
    """Yield files at the export's paths that no export has created."""
    for path in recordings:
        video, entry = _video(output, path), cache.entry(path)
        # In this order: another process that starts meanwhile writes the entry first.
        if video.exists() and not cache.made_video(path):
            yield video
        if entry.exists() and not cache.has_entry(path):
            yield entry
    for file in (output / name for name in _FILES):
        if file.exists() and not cache.has_entries():
            yield file


def _export_one(
    path: Path, camera: str | None, *, video: Path, settings: Settings, config: CutConfig
) -> CachedClips:
    """Cut one recording and write its video, unless that exists."""
    frames = settings.frames
    try:
        with open_recording(path, camera) as recording:
            annotated = load_annotated(recording, frames)
            records = list(cut(annotated, config, settings=settings))
            problems = _problems(annotated, records, frames=frames)
            if not records:
                reason = "; ".join(problems) or "no two consecutive rounds have known words"
                return CachedClips((), f"{path}: {reason}")
            if not video.exists():
                _write_video(recording, video, frames=frames)
    except Exception as error:  # readers may raise anything
        return CachedClips((), skip_reason(error))
    exported = (replace(record, recording=video, camera=None, hold=False) for record in records)
    lines = tuple(line_of(record, video.parent.parent) for record in exported)
    return CachedClips(lines, problems=problems)


def _problems(
    annotated: AnnotatedRecording, records: Sequence[ClipRecord], *, frames: FrameConfig
) -> tuple[str, ...]:
    """Return the problems of words and times, each once. The exported videos don't show them."""
    checker = Checker(frames)
    problems = list(checker.recording_problems(annotated, len(records)))
    problems += [problem for record in records for problem in checker.problems(record)]
    return tuple(dict.fromkeys(problem.what for problem in problems))


def _finish(output: Path, cache: ExportCache, *, validation: int) -> Exported | None:
    """Write the files if every recording has its entry.

    Another process may replace an entry meanwhile and end before this one writes. So the cache
    is read again until it equals the files.
    """
    entries, exported = cache.load_all(), None
    while entries is not None:
        exported = _write_files(entries, output, validation=validation, others=cache.other_names())
        again = cache.load_all()
        if again == entries:
            break
        entries = again
    return exported


def _write_files(
    entries: dict[Path, CachedClips], output: Path, *, validation: int, others: list[str]
) -> Exported:
    skipped = {path: clips.skipped for path, clips in entries.items() if clips.skipped}
    usable = [path for path in entries if path not in skipped]
    if not usable:
        reasons = "; ".join(skipped.values()) or "there are no recordings"
        raise DataError(f"no recording can be used: {reasons}")
    chosen = _for_validation(usable, validation)
    sides = {
        TRAIN: [path for path in usable if path not in chosen],
        VALIDATION: [path for path in usable if path in chosen],
    }
    for name, paths in sides.items():
        write_conversations(output / name, [line for p in paths for line in entries[p].lines])
    counts = {name: {p: len(entries[p].lines) for p in paths} for name, paths in sides.items()}
    problems = {path: list(clips.problems) for path, clips in entries.items() if clips.problems}
    return Exported(counts[TRAIN], counts[VALIDATION], skipped, problems, others)


def _for_validation(paths: Sequence[Path], every: int) -> set[Path]:
    """Return the paths whose names have hashes nearest above multiples of `every`."""
    if not every or len(paths) < 2:
        return set()
    hashes = {path: _hash(name_of(path)) for path in paths}
    count = sum(value % every == 0 for value in hashes.values())
    order = sorted(paths, key=lambda path: (hashes[path] % every, hashes[path]))
    return set(order[: min(max(count, 1), len(paths) - 1)])


def _hash(name: str) -> int:
    """Return a hash that is the same in every process, unlike Python's own."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "big")


def _write_video(recording: Recording, video: Path, *, frames: FrameConfig) -> None:
    """Encode the frames that a model sees of a recording, at their times since its beginning.

    DataError if no video can be made of them, OSError if there is no room for it.
    """
    video.parent.mkdir(parents=True, exist_ok=True)
    start_ns = recording.start_ns(frames)
    with atomic_path(video) as draft:
        visible = (f for chunk in _first_pass(recording.chunks(frames)) for f in chunk.frames)
        try:
            _encode(draft, _from_start(visible, start_ns), start_ns=start_ns)
        except av.FFmpegError as error:
            if error.errno in DISK_FULL:
                raise OSError(error.errno, error.strerror, str(video)) from error
            raise DataError(
                f"{recording.path} can't be encoded as a video: {error.strerror}"
            ) from error


def _first_pass(events: Iterable[object]) -> Iterator[Chunk]:
    """Yield the chunks until the stream is reset: after that, times would repeat."""
    for event in events:
        if not isinstance(event, Chunk):
            return
        yield event


def _from_start(frames: Iterable[Frame], start_ns: int) -> Iterator[Frame]:
    """Yield the frames, the first also at `start_ns`: a video's time begins with its first frame.

    A recording that begins within a chunk has no frame there, and all words would come too late.
    """
    for number, frame in enumerate(frames):
        if not number and frame.stamp_ns != start_ns:
            yield replace(frame, stamp_ns=start_ns)
        yield frame


def _encode(path: Path, frames: Iterable[Frame], *, start_ns: int) -> None:
    with av.open(str(path.absolute()), "w", format="mp4") as container:
        stream = container.add_stream(_CODEC, options=_QUALITY)
        stream.time_base = Fraction(1, _TICKS)
        stream.codec_context.time_base = Fraction(1, _TICKS)
        last = -1
        for frame in frames:
            # Rounded down: the next tick may be in another chunk.
            tick = (frame.stamp_ns - start_ns) * _TICKS // NS_PER_S
            if tick <= last:  # such as the first picture after its copy at the start
                continue
            if last < 0:
                stream.height, stream.width = frame.image.shape[:2]
                stream.pix_fmt = "yuv444p"
            picture = av.VideoFrame.from_ndarray(frame.image, "rgb24")
            picture = picture.reformat(stream.width, stream.height, "yuv444p")
            picture.pts, picture.time_base = tick, stream.time_base
            container.mux(stream.encode(picture))
            last = tick
        container.mux(stream.encode(None))
