"""Training clips of recordings, with their frames."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path

from torch.utils.data import Dataset

from streamingvlm_ros.config import FrameConfig, Settings
from streamingvlm_ros.errors import DataError
from streamingvlm_ros.file_lock import lock_file
from streamingvlm_ros.recordings.recording import open_recording
from streamingvlm_ros.recordings.skipping import skip_reason
from streamingvlm_ros.types import NS_PER_S, Chunk

from ..samples import ClipRound, ClipSample
from .conversations import Conversations
from .image_times import ROUNDING_S
from .record import ClipRecord, Exchange, Word, frames_of

EMPTY_SAMPLE = ClipSample(())
"""Replaces a clip that can't be read: nothing is learnt from it."""
_TRIAL_CLIPS = 20
"""Number of clips that are tried before training begins."""
_MAX_UNREADABLE = 100
"""Number of unreadable clips in a row, drawn at random, that means a failed disk."""


class RecordedClips(Dataset[ClipSample]):
    """The clips of several readers, one after another.

    A clip that can't be read is EMPTY_SAMPLE, and a line of the file `skipped_file` says why. It is
    neither replaced nor repeated, so that the record of what was trained on is exact. DataError
    if too many clips in a row can't be read. This holds for clips that are `drawn` at random; in
    order, all clips of a broken recording are neighbours.
    """

    def __init__(
        self,
        readers: Sequence[Sequence[ClipRecord]],
        settings: Settings,
        *,
        skipped_file: Path,
        drawn: bool = True,
    ) -> None:
        self._clips = [(reader, index) for reader in readers for index in range(len(reader))]
        self._frames, self._skipped_file, self._drawn = settings.frames, skipped_file, drawn
        self._unread: dict[int, str] = {}
        self._in_a_row = 0

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> ClipSample:
        clip = self._read(index)
        self._in_a_row = self._in_a_row + 1 if clip is EMPTY_SAMPLE else 0
        if self._drawn and self._in_a_row >= _MAX_UNREADABLE:
            raise DataError(
                f"the last {self._in_a_row} clips can't be read, such as: {self._unread[index]} "
                f"(all are in {self._skipped_file})"
            )
        return clip

    @property
    def skipped(self) -> int:
        """Number of clips that this process couldn't read, each counted once."""
        return len(self._unread)

    def try_some(self) -> None:
        """Read one clip. DataError if that fails for each of several from all over the data."""
        count = min(_TRIAL_CLIPS, len(self))
        if all(self._read(n * len(self) // count) is EMPTY_SAMPLE for n in range(count)):
            why = next(iter(self._unread.values()))
            raise DataError(
                f"none of {count} clips that were tried can be read: {why} (all are listed in "
                f"{self._skipped_file})"
            )

    def _read(self, index: int) -> ClipSample:
        reader, number = self._clips[index]
        origin = f"{reader.path}, clip {number + 1}" if isinstance(reader, Conversations) else ""
        try:
            record = reader[number]
            origin = record.origin
            return clip_of(record, self._frames)
        except Exception as error:  # readers may raise anything
            if index not in self._unread:
                self._unread[index] = skip_reason(error)
                note_skipped(self._skipped_file, origin, why=self._unread[index])
            return EMPTY_SAMPLE


def note_skipped(file_path: Path, clip: str, *, why: str) -> None:
    """Add a line to a file, unless it has it: processes and resumed runs share the file."""
    line = json.dumps({"clip": clip, "why": why}, ensure_ascii=False)
    # JSON's spelling of what UTF-8 lacks, such as bytes of a file's name that aren't UTF-8.
    line = line.encode("utf-8", "backslashreplace").decode()
    file_path.parent.mkdir(parents=True, exist_ok=True)
    with file_path.open("a+", encoding="utf-8", errors="backslashreplace") as file:
        lock_file(file)
        file.seek(0)
        if f"{line}\n" not in file:
            file.write(f"{line}\n")


def clip_of(record: ClipRecord, frames: FrameConfig) -> ClipSample:
    """Return the clip with its frames, cut into rounds as the engine cuts them.

    A round has the words that end in it. Words and exchanges after the last round are left out.

    Raises:
        DataError: there are fewer than two rounds.
        BagError, SourceError: the recording can't be read.
    """
    frames, span_s = frames_of(frames, hold=record.hold), (record.start_s, record.end_s)
    with open_recording(record.recording, record.camera) as recording:
        events = recording.chunks(frames, span_s)
        chunks = [event for event in events if isinstance(event, Chunk)]
        start_ns = recording.start_ns(frames)
    if len(chunks) < 2:
        raise DataError(
            f"{record.recording} has {len(chunks)} whole chunks of frames from {record.start_s} to "
            f"{record.end_s} s: at least 2 are needed"
        )
    return ClipSample(
        tuple(_rounds(record, chunks, start_ns=start_ns)),
        (record.previous,) if record.previous else (),
        record.instruction,
        questions=tuple((exchange.question, exchange.answer) for exchange in record.asked),
    )


def _rounds(record: ClipRecord, chunks: Sequence[Chunk], *, start_ns: int) -> Iterator[ClipRound]:
    words = sorted(record.words, key=attrgetter("end_s"))
    exchanges = sorted(record.exchanges, key=attrgetter("time_s"))
    for chunk in chunks:
        start_s, end_s = ((ns - start_ns) / NS_PER_S for ns in (chunk.start_ns, chunk.end_ns))
        text = _take_words(words, end_s)
        exchange = _take_exchange(exchanges, end_s)
        yield ClipRound(
            start_s,
            end_s,
            tuple(frame.image for frame in chunk.frames),
            text,
            exchange.question if exchange else "",
            exchange.answer if exchange else "",
        )


def _take_words(words: list[Word], end_s: float) -> str:
    """Remove and join the words that end by `end_s`: words end in their round, as in the paper."""
    count = 0
    while count < len(words) and words[count].end_s <= end_s + ROUNDING_S:
        count += 1
    text = " ".join(word.text.strip() for word in words[:count])
    del words[:count]
    return text.strip()


def _take_exchange(exchanges: list[Exchange], end_s: float) -> Exchange | None:
    """Remove the first exchange by `end_s`: a round has one, others wait for the next round."""
    if exchanges and exchanges[0].time_s <= end_s + ROUNDING_S:
        return exchanges.pop(0)
    return None
