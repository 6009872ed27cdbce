"""Clips of recordings, with their frames: what files describe, as it is trained on."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch.utils.data import Dataset

from streamingvlm_ros.config import FrameConfig, Settings
from streamingvlm_ros.errors import DataError, StreamingVLMError
from streamingvlm_ros.recordings.recording import open_recording
from streamingvlm_ros.types import NS_PER_S, Chunk

from ..samples import ClipRound, ClipSample
from .conversations import Conversations
from .image_times import ROUNDING_S
from .record import ClipRecord, Exchange, Word

NOTHING = ClipSample(())
"""Stands for a clip that can't be read: nothing is learnt from it."""
_TRIED = 20
"""Clips that are tried before anything is learnt."""
_IN_A_ROW = 100
"""So many clips drawn at random are not all broken while others are whole: a disk has gone."""


class RecordedClips(Dataset[ClipSample]):
    """The clips of several readers, one after another.

    One that can't be read is NOTHING, and a line of the file `listed` says why: it is neither
    replaced nor repeated, so that what was trained on can be told. DataError if clips that are
    `drawn` at random can't be read beyond reason; in their order, those of a broken recording are
    neighbours.
    """

    def __init__(
        self,
        readers: Sequence[Sequence[ClipRecord]],
        settings: Settings,
        listed: Path,
        drawn: bool = True,
    ) -> None:
        self._clips = [(reader, index) for reader in readers for index in range(len(reader))]
        self._frames, self._listed, self._drawn = settings.frames, listed, drawn
        self._unread: dict[int, str] = {}
        self._in_a_row = 0

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> ClipSample:
        its = self._read(index)
        self._in_a_row = self._in_a_row + 1 if its is NOTHING else 0
        if self._drawn and self._in_a_row >= _IN_A_ROW:
            raise DataError(
                f"the last {self._in_a_row} clips can't be read, such as: {self._unread[index]} "
                f"(all are in {self._listed})"
            )
        return its

    @property
    def skipped(self) -> int:
        """Clips that this process couldn't read, each counted once."""
        return len(self._unread)

    def try_some(self) -> None:
        """Read one clip. DataError if none of several from everywhere can be read."""
        count = min(_TRIED, len(self))
        if all(self._read(n * len(self) // count) is NOTHING for n in range(count)):
            why = next(iter(self._unread.values()))
            raise DataError(
                f"none of {count} clips that were tried can be read: {why} (all are in "
                f"{self._listed})"
            )

    def _read(self, index: int) -> ClipSample:
        reader, number = self._clips[index]
        origin = f"{reader.path}, clip {number + 1}" if isinstance(reader, Conversations) else ""
        try:
            record = reader[number]
            origin = record.origin
            return clip_of(record, self._frames)
        except (StreamingVLMError, OSError) as error:
            if index not in self._unread:
                self._unread[index] = str(error)
                note_skipped(self._listed, origin, str(error))
            return NOTHING


def note_skipped(listed: Path, clip: str, why: str) -> None:
    """Add a line to a file, unless it is there: processes share it, and each resumed run."""
    line = json.dumps({"clip": clip, "why": why}, ensure_ascii=False)
    listed.parent.mkdir(parents=True, exist_ok=True)
    with listed.open("a+", encoding="utf-8", errors="surrogateescape") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if f"{line}\n" not in file:
            file.write(f"{line}\n")


def clip_of(record: ClipRecord, frames: FrameConfig) -> ClipSample:
    """The clip with its frames, cut into rounds as the engine cuts them.

    A round has every word that ends in it; of words and exchanges after the last round nothing is
    known. DataError if there are fewer than two rounds; BagError or SourceError if the recording
    can't be read.
    """
    span_s = (record.start_s, record.end_s)
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
        tuple(_rounds(record, chunks, start_ns)),
        (record.previous,) if record.previous else (),
        record.instruction,
        tuple((its.question, its.answer) for its in record.asked),
    )


def _rounds(record: ClipRecord, chunks: Sequence[Chunk], start_ns: int) -> Iterator[ClipRound]:
    words = sorted(record.words, key=lambda word: word.end_s)
    exchanges = sorted(record.exchanges, key=lambda exchange: exchange.time_s)
    for chunk in chunks:
        start_s, end_s = ((ns - start_ns) / NS_PER_S for ns in (chunk.start_ns, chunk.end_ns))
        said = _take_words(words, end_s)
        known = _take_exchange(exchanges, end_s)
        yield ClipRound(
            start_s,
            end_s,
            tuple(frame.image for frame in chunk.frames),
            said,
            known.question if known else "",
            known.answer if known else "",
        )


def _take_words(words: list[Word], end_s: float) -> str:
    """What is said until then, and not before: words end in their round, as in the paper."""
    count = 0
    while count < len(words) and words[count].end_s <= end_s + ROUNDING_S:
        count += 1
    said = " ".join(word.text.strip() for word in words[:count])
    del words[:count]
    return said.strip()


def _take_exchange(exchanges: list[Exchange], end_s: float) -> Exchange | None:
    """The first that was asked by then: a round has one question, others wait for the next."""
    if exchanges and exchanges[0].time_s <= end_s + ROUNDING_S:
        return exchanges.pop(0)
    return None
