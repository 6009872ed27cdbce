"""Recordings as clips on disk: videos of the frames that a model sees, and files of conversations.

What comes out is what the authors of StreamingVLM publish (see `conversations`), so that it can be
moved, mixed with theirs, and read by their trainer.
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
from streamingvlm_ros.errors import DataError, StreamingVLMError
from streamingvlm_ros.rank import ALONE, Rank
from streamingvlm_ros.recordings.folder import name_of, places_beside
from streamingvlm_ros.recordings.recording import Recording, is_bag, open_recording
from streamingvlm_ros.types import NS_PER_S, Chunk, Frame

from .check import Checker
from .conversations import line_of, write_conversations
from .cutting import AnnotatedRecording, CutConfig, cut, load_annotated
from .export_cache import Part, Parts
from .record import ClipRecord

VIDEOS, PARTS = "videos", "parts"
TRAIN, VALIDATION = "train.jsonl", "validation.jsonl"
_WRITTEN = (TRAIN, "train_seeks.jsonl", VALIDATION, "validation_seeks.jsonl")
"""With the offsets that `conversations` writes beside them."""

_CODEC = "libx264"
_QUALITY = {"crf": "12", "preset": "veryfast"}
"""Nearly lossless: a model learns from these pictures, people don't watch them."""
_TICKS = 90_000
"""Of a second, in which frames are stamped: what most containers use."""


@dataclass(frozen=True)
class Exported:
    """What became of the recordings: clips by recording, and why others were left out.

    `problems` are to be looked at; clips with them are there. `others` are names of recordings
    that an earlier export has left here, and that are not in the files.
    """

    train: dict[Path, int]
    validation: dict[Path, int]
    skipped: dict[Path, str]
    problems: dict[Path, list[str]]
    others: list[str]


def export(
    recordings: Sequence[Path],
    output: Path,
    settings: Settings,
    config: CutConfig,
    validation: int,
    advance: Callable[[], None] = lambda: None,
    rank: Rank = ALONE,
    topic: str | None = None,
) -> Exported | None:
    """Write `output`/videos, train.jsonl and validation.jsonl.

    About every `validation`-th recording is for validation, whole: clips of one recording are too
    alike to be on both sides; 0 leaves all to training. It is chosen by its name, so that it stays
    on its side when others come; of two or more, each side has one. What was made of a recording
    before is not made again, unless that, or its words, have changed. `advance` is called after
    each that is done. `topic` is the camera of bags, None if each has only one.

    Of several processes each does its share, and whichever finds all done writes the files: None
    for the others. DataError if nothing can be used, or if files that no export has made stand
    where this one would write; then nothing is written. OSError if there is no room.
    """
    doubled = [name for name, n in Counter(map(name_of, recordings)).items() if n > 1]
    if doubled:
        raise DataError(f"several recordings are called {', '.join(doubled)}: rename them")
    cameras = {path: topic if is_bag(path) else None for path in recordings}
    parts = Parts(output / PARTS, cameras, settings, config)
    _check_place(recordings, output, parts)
    for path in share(recordings, rank):
        video = _video(output, path)
        if not parts.film_is_of(path):
            video.unlink(missing_ok=True)
        kept = parts.kept(path)
        if kept is None or kept.skipped or not video.exists():
            parts.begin(path)
            part = _part(path, cameras[path], video, settings, config)
            parts.keep(path, part, filmed=video.exists())
        advance()
    return _finished(output, parts, validation)


def share(recordings: Sequence[Path], rank: Rank) -> Sequence[Path]:
    """Those that a process of several exports."""
    return recordings[rank.number :: rank.count]


def _video(output: Path, path: Path) -> Path:
    return output / VIDEOS / f"{name_of(path)}.mp4"


def _check_place(recordings: Sequence[Path], output: Path, parts: Parts) -> None:
    """DataError if what is read, or what no export has made, would be written over."""
    outputs = [output / name for name in _WRITTEN]
    outputs += [file for path in recordings for file in (_video(output, path), parts.file(path))]
    read = {os.path.realpath(file) for path in recordings for file in (path, *places_beside(path))}
    for file in outputs:
        if os.path.realpath(file) in read:
            raise DataError(
                f"{file} would be written over, and is a recording or where its words are looked "
                "for: name another --output"
            )
    foreign = next(_not_ours(recordings, output, parts), None)
    if foreign:
        raise DataError(
            f"{foreign} is in the way, and {output / PARTS} knows of no export that has made it: "
            "move it, or name another --output"
        )


def _not_ours(recordings: Sequence[Path], output: Path, parts: Parts) -> Iterator[Path]:
    """Files in the place of an export's that no part tells of."""
    for path in recordings:
        video, part = _video(output, path), parts.file(path)
        # In this order: a process that begins meanwhile writes the part first.
        if video.exists() and not parts.film_is_ours(path):
            yield video
        if part.exists() and not parts.part_is_ours(path):
            yield part
    for file in (output / name for name in _WRITTEN):
        if file.exists() and not parts.any_is_ours():
            yield file


def _part(
    path: Path, camera: str | None, video: Path, settings: Settings, config: CutConfig
) -> Part:
    try:
        with open_recording(path, camera) as recording:
            annotated = load_annotated(recording, settings.frames)
            records = list(cut(annotated, config, settings=settings))
            problems = _problems(annotated, records, settings.frames)
            if not records:
                why = "; ".join(problems)
                why = why or "there are no two rounds in a row with what is to be said"
                return Part((), f"{path}: {why}")
            if not video.exists():
                _film(recording, video, settings.frames)
    except (StreamingVLMError, OSError) as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise  # no fault of the recording's, and no reason to leave it out
        return Part((), str(error))
    filmed = (replace(record, recording=video, camera=None) for record in records)
    lines = tuple(line_of(record, video.parent.parent) for record in filmed)
    return Part(lines, problems=problems)


def _problems(
    annotated: AnnotatedRecording, records: Sequence[ClipRecord], frames: FrameConfig
) -> tuple[str, ...]:
    """Problems of words and times, each once: the exported videos no longer show them."""
    checker = Checker(frames)
    problems = list(checker.recording_problems(annotated, len(records)))
    problems += [problem for record in records for problem in checker.problems(record)]
    return tuple(dict.fromkeys(problem.what for problem in problems))


def _finished(output: Path, parts: Parts, validation: int) -> Exported | None:
    """Write the files if every recording has its part.

    Another process may have made a part anew meanwhile, and have ended before this one wrote: so
    it is looked once more, until what is written is what is there.
    """
    found, done = parts.all(), None
    while found is not None:
        done = _written(found, output, validation, parts.others())
        again = parts.all()
        if again == found:
            break
        found = again
    return done


def _written(parts: dict[Path, Part], output: Path, validation: int, others: list[str]) -> Exported:
    skipped = {path: part.skipped for path, part in parts.items() if part.skipped}
    its = [path for path in parts if path not in skipped]
    if not its:
        raise DataError(f"nothing can be used: {'; '.join(skipped.values()) or 'no recordings'}")
    apart = _for_validation(its, validation)
    sides = {TRAIN: [p for p in its if p not in apart], VALIDATION: [p for p in its if p in apart]}
    for name, paths in sides.items():
        write_conversations(output / name, [line for p in paths for line in parts[p].lines])
    counts = {name: {p: len(parts[p].lines) for p in paths} for name, paths in sides.items()}
    problems = {path: list(part.problems) for path, part in parts.items() if part.problems}
    return Exported(counts[TRAIN], counts[VALIDATION], skipped, problems, others)


def _for_validation(paths: Sequence[Path], every: int) -> set[Path]:
    """Those whose names' hashes are multiples of `every`; if none, or all, the next best."""
    if not every or len(paths) < 2:
        return set()
    hashes = {path: _hash(name_of(path)) for path in paths}
    chosen = sum(its % every == 0 for its in hashes.values())
    order = sorted(paths, key=lambda path: (hashes[path] % every, hashes[path]))
    return set(order[: min(max(chosen, 1), len(paths) - 1)])


def _hash(name: str) -> int:
    """The same in every process, which Python's own is not."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "big")


def _film(recording: Recording, video: Path, frames: FrameConfig) -> None:
    """Encode the frames that a model sees of a recording, at their times since its beginning.

    DataError if no video can be made of them, OSError if there is no room for it.
    """
    video.parent.mkdir(parents=True, exist_ok=True)
    start_ns = recording.start_ns(frames)
    with atomic_path(video) as draft:
        visible = (f for chunk in _first_pass(recording.chunks(frames)) for f in chunk.frames)
        try:
            _encode(draft, _from(start_ns, visible), start_ns)
        except av.FFmpegError as error:
            if error.errno in DISK_FULL:
                raise OSError(error.errno, error.strerror, str(video)) from error
            raise DataError(f"{recording.path} can't be filmed: {error.strerror}") from error


def _first_pass(events: Iterable[object]) -> Iterator[Chunk]:
    """The chunks until the stream begins anew: where a clock is set back, times come twice."""
    for event in events:
        if not isinstance(event, Chunk):
            return
        yield event


def _from(start_ns: int, frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames, the first of them also at `start_ns`: a video's time begins with its first frame.

    A recording that begins in the midst of a chunk has none there, and all words would come late.
    """
    for number, frame in enumerate(frames):
        if not number and frame.stamp_ns != start_ns:
            yield replace(frame, stamp_ns=start_ns)
        yield frame


def _encode(path: Path, frames: Iterable[Frame], start_ns: int) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(_CODEC, options=_QUALITY)
        stream.time_base = Fraction(1, _TICKS)
        stream.codec_context.time_base = Fraction(1, _TICKS)
        last = -1
        for frame in frames:
            # Not rounded up: the next tick may be another chunk's.
            tick = (frame.stamp_ns - start_ns) * _TICKS // NS_PER_S
            if tick <= last:  # as the first picture may be, behind itself at the beginning
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
