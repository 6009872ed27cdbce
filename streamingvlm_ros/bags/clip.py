"""A moment that is kept: a bag of its own, and what was said in it, told beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BagError
from ..types import NS_PER_S
from .config import BagConfig
from .messages import Decoder, stamp_ns
from .quota import Quota
from .recorded import NARRATION, Recorded
from .recording import Recording
from .writer import BagWriter

SIDECAR = "clip.jsonl"
_LABEL_SIGNS = 40


@dataclass(frozen=True)
class Moment:
    """What is to be kept, and what a person says about it."""

    label: str
    asked_ns: int
    """When it was asked for, by the clock that stamps messages."""
    from_ns: int
    until_ns: int
    corrected: str = ""
    """What the model should have said then; empty if nothing is known to be wrong."""


class Clip:
    """One clip. It is a bag as soon as it is made, and grows until its time is over."""

    def __init__(
        self,
        bag: BagWriter,
        quota: Quota,
        most_waiting_bytes: int,
        moment: Moment,
        kept: Iterable[Recorded],
    ) -> None:
        """Owns the bag from now on. `kept` are the messages before the moment, oldest first."""
        first = list(kept)
        self.moment, self.folder = moment, bag.folder
        self.problem = ""
        """Why it is not whole; empty if it is."""
        self._start_ns = first[0].stamp_ns if first else None
        self._narrations = [r for r in first if r.topic.type == NARRATION]
        self._recording = Recording(bag, quota, most_waiting_bytes, first, self._tell)

    def put(self, recorded: Recorded) -> None:
        """Add a message if it is of the clip's time."""
        if recorded.stamp_ns > self.moment.until_ns:
            return
        if self._start_ns is None:
            self._start_ns = recorded.stamp_ns
        if recorded.topic.type == NARRATION:
            self._narrations.append(recorded)
        self._recording.put(recorded)

    def end(self) -> None:
        """Finish it with what there is, in the background."""
        self._recording.end()

    def close(self) -> bool:
        """Finish it and wait for that. False if the disk hangs."""
        return self._recording.close()

    @property
    def is_closed(self) -> bool:
        """Whether all of it is on disk."""
        return self._recording.is_closed

    def _tell(self, recording: Recording) -> None:
        dropped = recording.dropped.total()
        self.problem = recording.problem or (
            f"the disk was too slow for {dropped} of its messages" if dropped else ""
        )
        try:
            lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in self._lines()]
            (self.folder / SIDECAR).write_text("".join(lines))
        except (OSError, BagError) as error:
            self.problem = self.problem or f"{SIDECAR} can't be written: {error}"

    def _lines(self) -> Iterator[dict[str, Any]]:
        """What was said. The correction belongs to what was said last when it was asked for."""
        moment, decoder = self.moment, Decoder()
        before = [r for r in self._narrations if r.stamp_ns <= moment.asked_ns]
        if moment.corrected and not before:
            yield self._line(moment.from_ns, moment.asked_ns, "", moment.corrected)
        for recorded in self._narrations:
            said = decoder.decode(recorded)
            corrected = moment.corrected if before and recorded is before[-1] else ""
            yield self._line(stamp_ns(said.start), stamp_ns(said.end), said.text, corrected)

    def _line(self, start_ns: int, end_ns: int, text: str, corrected: str) -> dict[str, Any]:
        begin_ns = self._start_ns or 0
        return {
            "label": self.moment.label,
            "start_s": (start_ns - begin_ns) / NS_PER_S,
            "end_s": (end_ns - begin_ns) / NS_PER_S,
            "text": text,
            "corrected": corrected,
            "start_ns": start_ns,
            "end_ns": end_ns,
        }


def new_clip_bag(folder: Path, moment: Moment, name: str, config: BagConfig) -> BagWriter:
    """A bag in `folder` that is named by `name` and the label. BagError if it can't be made."""
    label = re.sub(r"\W+", "-", moment.label).strip("-")[:_LABEL_SIGNS].strip("-").lower()
    about = {"label": moment.label, "corrected": moment.corrected}
    named = "-".join(word for word in (name, label) if word)
    paths = (folder / f"{named}{end}" for end in ("", *(f"-{n}" for n in range(2, 1000))))
    return BagWriter(next(path for path in paths if not path.exists()), config, about)
