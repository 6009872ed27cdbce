"""Clips of recordings, with their frames: what files describe, as it is trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch.utils.data import Dataset

from streamingvlm_ros.config import FrameConfig, Settings
from streamingvlm_ros.errors import DataError, StreamingVLMError
from streamingvlm_ros.recordings.recording import recording
from streamingvlm_ros.types import NS_PER_S, Chunk

from .record import ClipRecord, Exchange, Word
from .samples import ClipRound, ClipSample

NOTHING = ClipSample(())
"""Stands for a clip that can't be read: nothing is learnt from it."""


class RecordedClips(Dataset[ClipSample]):
    """The clips of several readers, one after another.

    One that can't be read is NOTHING, and a line of `skipped` says why: it is neither replaced
    nor repeated, so that what was trained on can be told.
    """

    def __init__(
        self, readers: Sequence[Sequence[ClipRecord]], settings: Settings, skipped: Path
    ) -> None:
        self._clips = [(reader, index) for reader in readers for index in range(len(reader))]
        self._frames, self._skipped = settings.frames, skipped

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> ClipSample:
        reader, number = self._clips[index]
        origin = str(index)
        try:
            record = reader[number]
            origin = record.origin
            return clip_of(record, self._frames)
        except (StreamingVLMError, OSError) as error:
            # One write of a line: workers and processes share the file.
            line = json.dumps({"clip": origin, "why": str(error)}, ensure_ascii=False)
            with self._skipped.open("a") as file:
                file.write(f"{line}\n")
            return NOTHING


def clip_of(record: ClipRecord, frames: FrameConfig) -> ClipSample:
    """The clip with its frames, cut into rounds as the engine cuts them.

    A round has every word that ends in it; of words and exchanges after the last round nothing is
    known. DataError if there are fewer than two rounds; BagError or SourceError if the recording
    can't be read.
    """
    span_s = (record.start_s, record.end_s)
    with recording(record.recording, record.camera, frames, span_s) as recorded:
        chunks = [event for event in recorded.events if isinstance(event, Chunk)]
        start_ns = recorded.start_ns
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
    while count < len(words) and words[count].end_s <= end_s + _ROUNDING_S:
        count += 1
    said = " ".join(word.text.strip() for word in words[:count])
    del words[:count]
    return said.strip()


def _take_exchange(exchanges: list[Exchange], end_s: float) -> Exchange | None:
    """The first that was asked by then: a round has one question, others wait for the next."""
    if exchanges and exchanges[0].time_s <= end_s + _ROUNDING_S:
        return exchanges.pop(0)
    return None


_ROUNDING_S = 1e-6
"""Times of files are decimal fractions, those of chunks whole nanoseconds."""
