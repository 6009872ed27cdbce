"""Clips as the authors of StreamingVLM and LiveCC publish them: JSON lines and their offsets.

A line is a conversation of two messages (arXiv 2510.09608, appendix; arXiv 2504.16030):

    [{"role": "user", "content": [
        {"type": "video", "video": PATH, "video_start": S, "video_end": S},
        {"type": "text", "text": QUERY, "previous": EARLIER WORDS}]},
     {"role": "assistant", "content": [
        {"type": "text_stream", "text_stream": [[START_S, END_S, WORD], …],
         "qa_stream": [[…, TIME_S, QUESTION, ANSWER], …]}]}]

Offsets are a JSON list: in `NAME_seeks.jsonl` beside `NAME.jsonl` or `NAME_with_seeks.jsonl`
(StreamingVLM), or in the file's own last line (LiveCC). Without them the file is read once to find
its lines. We write two more fields: "camera" beside a bag's path, and "asked",
[[TIME_S, QUESTION, ANSWER], …], the questions after the clip's end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from streamingvlm_ros.atomic_write import write_text
from streamingvlm_ros.errors import DataError
from streamingvlm_ros.recordings.annotations import as_time

from .record import ClipRecord, Exchange, Word
from .videos import Videos

_SEEKS = "_seeks.jsonl"


class Conversations(Sequence[ClipRecord]):
    """The clips of one file, each read on access."""

    def __init__(self, path: Path, videos: Videos | None = None) -> None:
        """Open a file. Its videos are beside it, unless `videos` finds them elsewhere.

        DataError if the file can't be read or its offsets don't fit.
        """
        self.path = path
        self.videos = videos or Videos(path.parent)
        self._offsets = _offsets(path)

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> ClipRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[ClipRecord]: ...
    def __getitem__(self, index: int | slice) -> ClipRecord | list[ClipRecord]:
        """Read a clip. DataError if the line isn't a conversation, or its video is missing."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        origin = f"{self.path}, clip {index + 1}"
        with self.path.open("rb") as file:
            file.seek(self._offsets[index])
            line = file.readline()
        try:
            return _record(json.loads(line), self.videos, origin=origin)
        except DataError:
            raise
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise DataError(f"{origin} isn't a conversation about a video: {error!r}") from error


def line_of(record: ClipRecord, folder: Path) -> str:
    """Return a clip as a line of a file in `folder`; paths below that are relative to it."""
    return json.dumps(_conversation(record, folder), ensure_ascii=False)


def write_conversations(path: Path, lines: Sequence[str]) -> None:
    """Write a file of such lines, and their offsets.

    The old offsets are removed first, as they could fit the new lines by chance.
    """
    offsets, at = [], 0
    for line in lines:
        offsets.append(at)
        at += len(line.encode()) + 1
    beside = path.with_name(f"{path.stem}{_SEEKS}")
    beside.unlink(missing_ok=True)
    write_text(path, "".join(f"{line}\n" for line in lines))
    write_text(beside, json.dumps(offsets) + "\n")


def _offsets(path: Path) -> list[int]:
    beside = _beside(path)
    try:
        if beside.exists():
            return _checked(json.loads(beside.read_text("utf-8")), path)
        last = _last_line(path)
        if last.startswith(b"[") and not last.startswith(b"[{"):
            return _checked(json.loads(last), path)
        return _scanned(path)
    except (OSError, ValueError) as error:
        raise DataError(f"the clips of {path} can't be read: {error}") from error


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem.removesuffix('_with_seeks')}{_SEEKS}")


def _checked(offsets: Any, path: Path) -> list[int]:
    """Return the offsets if they are those of lines, and the last is that of the last line."""
    size = path.stat().st_size
    if not isinstance(offsets, list) or not all(isinstance(offset, int) for offset in offsets):
        raise ValueError("its offsets must be a list of whole numbers")
    beside = _beside(path).name
    remedy = (
        f"if it was edited, remove the offsets ({beside}, or its last line): they aren't required"
    )
    with path.open("rb") as file:
        for offset in {*offsets[:1], *offsets[-1:], *offsets[len(offsets) // 2 :][:1]}:
            file.seek(max(0, offset - 1))
            before = file.read(1) if offset else b"\n"
            if not 0 <= offset < size or before != b"\n" or file.read(2) != b"[{":
                raise ValueError(f"no clip begins at its offset {offset}; {remedy}")
        file.seek(offsets[-1] + 1 if offsets else 0)
        # A line of offsets may follow.
        if any(line.startswith(b"[{") for line in file):
            raise ValueError(f"it has more clips than offsets; {remedy}")
    return offsets


def _last_line(path: Path) -> bytes:
    """Return the last line without its line end."""
    with path.open("rb") as file:
        at = file.seek(0, 2)
        tail = b""
        while at and b"\n" not in tail.rstrip(b"\n"):
            step = min(1 << 20, at)
            at = file.seek(at - step)
            tail = file.read(step) + tail
    return tail.rstrip(b"\n").rpartition(b"\n")[2]


def _scanned(path: Path) -> list[int]:
    offsets, at = [], 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                offsets.append(at)
            at += len(line)
    return offsets


def _record(conversation: Any, videos: Videos, *, origin: str) -> ClipRecord:
    user, assistant = conversation
    video, query = user["content"]
    stream = assistant["content"][0]
    previous = str(query.get("previous") or "")
    return ClipRecord(
        videos.find(video["video"]),
        _seconds(video["video_start"]),
        _seconds(video["video_end"]),
        tuple(map(_word, stream["text_stream"])),
        tuple(_exchange(entry[-3:]) for entry in stream.get("qa_stream", ())),
        tuple(map(_exchange, stream.get("asked", ()))),
        previous,
        # The instruction begins a stream; later clips no longer see it.
        "" if previous else str(query.get("text") or ""),
        video.get("camera"),
        origin,
    )


def _word(record: Sequence[Any]) -> Word:
    start_s, end_s, text = record
    return Word(_seconds(start_s), _seconds(end_s), str(text))


def _exchange(record: Sequence[Any]) -> Exchange:
    time_s, question, answer = record
    return Exchange(_seconds(time_s), str(question), str(answer))


def _seconds(value: Any) -> float:
    time_s = as_time(value)
    if time_s is None:
        raise ValueError(f"{str(value)[:60]} isn't a time")
    return time_s


def _conversation(record: ClipRecord, folder: Path) -> list[dict[str, Any]]:
    video = {
        "type": "video",
        "video": _path(record.recording, folder),
        "video_start": record.start_s,
        "video_end": record.end_s,
        **({"camera": record.camera} if record.camera else {}),
    }
    query = {"type": "text", "text": record.instruction, "previous": record.previous}
    stream: dict[str, Any] = {
        "type": "text_stream",
        "text_stream": [[w.start_s, w.end_s, w.text] for w in record.words],
    }
    for name, exchanges in (("qa_stream", record.exchanges), ("asked", record.asked)):
        if exchanges:
            stream[name] = [[e.time_s, e.question, e.answer] for e in exchanges]
    return [
        {"role": "user", "content": [video, query]},
        {"role": "assistant", "content": [stream]},
    ]


def _path(recording: Path, folder: Path) -> str:
    """Return the path, relative to the folder if it is below: then both can be moved together."""
    inside = recording.is_relative_to(folder)
    return str(recording.relative_to(folder) if inside else recording.absolute())
