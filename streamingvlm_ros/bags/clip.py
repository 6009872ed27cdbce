"""A saved clip: a small bag, and clip.jsonl with the narration beside it."""

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
from .clip_lines import clip_lines
from .config import BagConfig
from .quota import Quota, dated_path
from .ring import JUMP_NS
from .types import NARRATION_TYPE, BagMessage, ClipRequest
from .writer import BagWriter

SIDECAR = "clip.jsonl"
"""File beside the clip's bag, with the narration and its correction."""

_LATE_NS = NS_PER_S // 2
"""Time for messages that are still on their way when the clip's time is over."""

_MAX_LABEL_CHARS = 40


class SavedClip:
    """A clip while it is being saved. It is a readable bag from the start, and grows until its end.

    `put` and `end` are for one thread at a time.
    """

    def __init__(
        self,
        bag: BagWriter,
        quota: Quota,
        *,
        max_queued_bytes: int,
        request: ClipRequest,
        earlier: Iterable[BagMessage],
    ) -> None:
        """Take over the bag. `earlier` are the messages before the request, oldest first."""
        first = list(earlier)
        self.request, self.folder = request, bag.folder
        self.problem = ""
        """Why the clip is incomplete; empty if it is complete."""
        self._start_ns = first[0].stamp_ns if first else None
        self._newest_ns = max([request.requested_ns, *(message.stamp_ns for message in first)])
        self._ended = False
        self._narrations = [m for m in first if m.topic.type == NARRATION_TYPE]
        self._writer = BackgroundWriter(
            bag,
            quota,
            max_queued_bytes=max_queued_bytes,
            first=first,
            on_start=self._write_early_sidecar,
            on_end=self._finish,
        )

    def put(self, message: BagMessage) -> None:
        """Add a message within the clip's time. A jump back in time ends the clip."""
        if self._is_jump_back(message.stamp_ns):
            self.end()
        if self._ended or message.stamp_ns > self.request.until_ns:
            return
        self._newest_ns = max(self._newest_ns, message.stamp_ns)
        if self._start_ns is None:
            self._start_ns = message.stamp_ns
        if message.topic.type == NARRATION_TYPE:
            self._narrations.append(message)
        self._writer.put(message)

    def end(self) -> None:
        """Accept no more messages; the clip is finished in the background."""
        self._ended = True
        self._writer.end()

    def is_over(self, now_ns: int) -> bool:
        """Return whether the clip's time is over, late messages included."""
        return now_ns > self.request.until_ns + _LATE_NS or self._is_jump_back(now_ns)

    def close(self) -> bool:
        """End, and wait until the clip is finished. False if the disk hangs."""
        return self._writer.close()

    @property
    def is_closed(self) -> bool:
        """True when all of the clip is on disk."""
        return self._writer.is_closed

    def _is_jump_back(self, stamp_ns: int) -> bool:
        return stamp_ns < self._newest_ns - JUMP_NS

    def _finish(self, writer: BackgroundWriter) -> None:
        dropped = writer.dropped.total()
        self.problem = writer.problem or (
            f"the disk was too slow for {dropped} of its messages" if dropped else ""
        )
        try:
            self._write_sidecar()
        except (OSError, BagError) as error:
            self.problem = self.problem or f"{SIDECAR} can't be written: {error}"

    def _write_early_sidecar(self) -> None:
        """Write what is known by now, in case the process is killed before the end."""
        with suppress(OSError, BagError):  # `_finish` reports it if it persists.
            self._write_sidecar()

    def _write_sidecar(self) -> None:
        begin_ns = self.request.from_ns if self._start_ns is None else self._start_ns
        # A copy: `put` may add narrations meanwhile.
        lines = clip_lines(self.request, tuple(self._narrations), begin_ns=begin_ns)
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_text(self.folder / SIDECAR, text)


def create_clip_bag(folder: Path, request: ClipRequest, *, config: BagConfig) -> BagWriter:
    """Create a bag in `folder`, named by date, time and label.

    Raises:
        BagError: The bag can't be created.
    """
    label = re.sub(r"\W+", "-", request.label).strip("-")[:_MAX_LABEL_CHARS].strip("-").lower()
    custom = {"label": request.label, "corrected": request.corrected}
    return BagWriter(dated_path(folder, label), config, custom=custom)
