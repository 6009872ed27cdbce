"""A moment that is kept: a bag of its own, and what was said in it, told beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..atomic_write import write_text
from ..errors import BagError
from ..types import NS_PER_S
from .background_writer import BackgroundWriter
from .clip_lines import ClipRequest, told
from .config import BagConfig
from .quota import Quota, dated_path
from .ring import JUMP_NS
from .types import NARRATION_TYPE, BagMessage
from .writer import BagWriter

SIDECAR = "clip.jsonl"
_MAX_LABEL_CHARS = 40


class SavedClip:
    """One clip. It is a bag as soon as it is made, and grows until its time is over."""

    def __init__(
        self,
        bag: BagWriter,
        quota: Quota,
        max_queued_bytes: int,
        moment: ClipRequest,
        kept: Iterable[BagMessage],
    ) -> None:
        """Owns the bag from now on. `kept` are the messages before the moment, oldest first."""
        first = list(kept)
        self.moment, self.folder = moment, bag.folder
        self.problem = ""
        """Why it is not whole; empty if it is."""
        self._start_ns = first[0].stamp_ns if first else None
        self._newest_ns = max([moment.asked_ns, *(recorded.stamp_ns for recorded in first)])
        self._ended = False
        self._narrations = [r for r in first if r.topic.type == NARRATION_TYPE]
        self._writer = BackgroundWriter(
            bag, quota, max_queued_bytes, first, self._tell_early, self._tell
        )

    def put(self, recorded: BagMessage) -> None:
        """Add a message if it is of the clip's time. What begins another time ends the clip."""
        if self._is_another_time(recorded.stamp_ns):
            self.end()
        if self._ended or recorded.stamp_ns > self.moment.until_ns:
            return
        self._newest_ns = max(self._newest_ns, recorded.stamp_ns)
        if self._start_ns is None:
            self._start_ns = recorded.stamp_ns
        if recorded.topic.type == NARRATION_TYPE:
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
            self._write_told()
        except (OSError, BagError) as error:
            self.problem = self.problem or f"{SIDECAR} can't be written: {error}"

    def _tell_early(self) -> None:
        """What is known, in case the process is killed before the end."""
        with suppress(OSError, BagError):  # the end will meet it again
            self._write_told()

    def _write_told(self) -> None:
        moment = self.moment
        begin_ns = moment.from_ns if self._start_ns is None else self._start_ns
        # Others may still be heard meanwhile.
        lines = told(moment, tuple(self._narrations), begin_ns)
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_text(self.folder / SIDECAR, text)


def create_clip_bag(folder: Path, request: ClipRequest, config: BagConfig) -> BagWriter:
    """Create a bag in `folder`, named by date, time and label.

    Raises:
        BagError: The bag can't be created.
    """
    label = re.sub(r"\W+", "-", request.label).strip("-")[:_MAX_LABEL_CHARS].strip("-").lower()
    custom = {"label": request.label, "corrected": request.corrected}
    return BagWriter(dated_path(folder, label), config, custom)
