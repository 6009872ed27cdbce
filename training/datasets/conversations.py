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
its lines. We write three more fields: "camera" beside a bag's path, "hold": false beside the path
of an exported video, and "asked", [[TIME_S, QUESTION, ANSWER], …], the questions after the clip's
end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, overload

from streamingvlm_ros.atomic_write import write_text
from streamingvlm_ros.errors import DataError
from streamingvlm_ros.recordings.annotations import as_text, as_time
from streamingvlm_ros.recordings.skipping import one_line
from streamingvlm_ros.setting import brief

from .record import ClipRecord, Exchange, Word
from .videos import Videos

_SEEKS = "_seeks.jsonl"
_MAX_LINE_BYTES = 10**7
"""Maximum length of a clip's line: a thousand times that of the published ones."""
_MAX_OFFSETS_BYTES = 10**8
"""Maximum length of a line of offsets: those of several million clips."""


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
        offset = self._offsets[index]
        origin = f"{self.path}, clip {index + 1}"
        try:
            return _record(json.loads(self._line(offset)), self.videos, origin=origin)
        except DataError:
            raise
        except Exception as error:  # a line can be wrong in any way
            raise DataError(
                f"{origin} isn't a conversation about a video: {_why(error)}"
            ) from error

    def _line(self, offset: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            line = file.readline(_MAX_LINE_BYTES + 1)
        if len(line) > _MAX_LINE_BYTES:
            raise ValueError(f"the line is longer than {_MAX_LINE_BYTES:,} bytes")
        return line


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
            return _checked(json.loads(beside.read_text()), path)
        offsets = _last_line_offsets(path)
        if offsets is not None:
            return _checked(offsets, path)
        with path.open("rb") as file:
            return [offset for offset, line in _lines(file) if line.strip()]
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"the clips of {path} can't be read: {_why(error)}") from error


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem.removesuffix('_with_seeks')}{_SEEKS}")


def _checked(offsets: Any, path: Path) -> list[int]:
    """Return the offsets if they are those of lines, and the last is that of the last line."""
    size = path.stat().st_size
    if not _are_offsets(offsets):
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
        if any(line.startswith(b"[{") for _, line in _lines(file)):
            raise ValueError(f"it has more clips than offsets; {remedy}")
    return offsets


def _are_offsets(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(offset, int) for offset in value)


def _last_line_offsets(path: Path) -> list[int] | None:
    """Return the offsets in a file's last line; None if that is something else."""
    line = _last_line(path)
    if not line.startswith(b"[") or line.startswith(b"[{"):
        return None
    try:
        offsets = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return offsets if _are_offsets(offsets) else None


def _last_line(path: Path) -> bytes:
    """Return the last line without its line end; nothing of one longer than offsets can be."""
    with path.open("rb") as file:
        at = file.seek(0, 2)
        tail = b""
        while b"\n" not in tail.rstrip(b"\n"):
            if not at:
                return tail.rstrip(b"\n")
            if len(tail) > _MAX_OFFSETS_BYTES:
                return b""
            step = min(max(1 << 20, len(tail)), at)
            at = file.seek(at - step)
            tail = file.read(step) + tail
    return tail.rstrip(b"\n").rpartition(b"\n")[2]


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the offset of each line from here on, and its beginning: a line may have no end."""
    begins_line = True
    while piece := file.readline(_MAX_LINE_BYTES):
        if begins_line:
            yield file.tell() - len(piece), piece
        begins_line = piece.endswith(b"\n")


def _record(conversation: Any, videos: Videos, *, origin: str) -> ClipRecord:
    user, assistant = _list(conversation)
    video, query = _list(user["content"])
    stream = _list(assistant["content"])[0]
    previous = _text(query.get("previous") or "")
    camera = video.get("camera")
    return ClipRecord(
        videos.find(_text(video["video"])),
        _seconds(video["video_start"]),
        _seconds(video["video_end"]),
        tuple(map(_word, _list(stream["text_stream"]))),
        tuple(_exchange(_list(entry)[-3:]) for entry in _list(stream.get("qa_stream", []))),
        tuple(map(_exchange, _list(stream.get("asked", [])))),
        previous,
        # The instruction begins a stream; later clips no longer see it.
        "" if previous else _text(query.get("text") or ""),
        None if camera is None else _text(camera),
        origin,
        hold=video.get("hold") is not False,
    )


def _word(record: Any) -> Word:
    start_s, end_s, text = _list(record)
    return Word(_seconds(start_s), _seconds(end_s), _text(text))


def _exchange(record: Any) -> Exchange:
    time_s, question, answer = _list(record)
    return Exchange(_seconds(time_s), _text(question), _text(answer))


def _why(error: Exception) -> str:
    """Return an error with its type: of a KeyError the message is only the key."""
    return one_line(f"{type(error).__name__}: {error}")


def _list(value: Any) -> list[Any]:
    """Return a list as it is; text and objects would be taken apart as lists are."""
    if not isinstance(value, list):
        raise TypeError(f"{brief(value)} isn't a list")
    return value


def _text(value: Any) -> str:
    """Return text, or a number as text, that a tokenizer can encode."""
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise TypeError(f"{value} isn't text")
    return as_text(value, "text")


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
        **({} if record.hold else {"hold": False}),
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
