"""A moment that is kept: a bag of its own, and what was said in it, told beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..drafts import write_whole
from ..errors import BagError
from ..types import NS_PER_S
from .background_writer import BackgroundWriter
from .config import BagConfig
from .messages import Decoder, stamp_ns
from .quota import Quota
from .recorded import NARRATION, Recorded
from .ring import JUMP_NS
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
        self._newest_ns = max([moment.asked_ns, *(recorded.stamp_ns for recorded in first)])
        self._ended = False
        self._narrations = [r for r in first if r.topic.type == NARRATION]
        self._writer = BackgroundWriter(bag, quota, most_waiting_bytes, first, self._tell)

    def put(self, recorded: Recorded) -> None:
        """Add a message if it is of the clip's time. What begins another time ends the clip."""
        if self._is_another_time(recorded.stamp_ns):
            self.end()
        if self._ended or recorded.stamp_ns > self.moment.until_ns:
            return
        self._newest_ns = max(self._newest_ns, recorded.stamp_ns)
        if self._start_ns is None:
            self._start_ns = recorded.stamp_ns
        if recorded.topic.type == NARRATION:
            self._narrations.append(recorded)
        self._writer.put(recorded)

    def end(self) -> None:
        """Finish it with what there is, in the background. It takes no more."""
        self._ended = True
        self._writer.end()

    def is_over(self, now_ns: int) -> bool:
        """Whether its time is: half a second is for messages that are on their way."""
        late = now_ns > self.moment.until_ns + NS_PER_S // 2
        return late or self._is_another_time(now_ns)

    def close(self) -> bool:
        """Finish it and wait for that. False if the disk hangs."""
        return self._writer.close()

    @property
    def is_closed(self) -> bool:
        """Whether all of it is on disk."""
        return self._writer.is_closed

    def _is_another_time(self, stamp_ns: int) -> bool:
        return stamp_ns < self._newest_ns - JUMP_NS

    def _tell(self, writer: BackgroundWriter) -> None:
        dropped = writer.dropped.total()
        self.problem = writer.problem or (
            f"the disk was too slow for {dropped} of its messages" if dropped else ""
        )
        try:
            lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in self._lines()]
            write_whole(self.folder / SIDECAR, "".join(lines))
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
        begin_ns = self.moment.from_ns if self._start_ns is None else self._start_ns
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
