"""Everything that is heard: written into a bag, and the newest of it kept for clips."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

from ..errors import BagError
from ..types import NS_PER_S
from .background_writer import BackgroundWriter
from .clip import SavedClip, create_clip_bag
from .clip_lines import ClipRequest
from .config import BagConfig, RecorderConfig, check_together
from .quota import Quota, dated_path
from .ring import Ring
from .transient_local import TransientLocalMessages
from .types import BagMessage
from .writer import BagWriter

CLIPS = "clips"
"""Name of the folder that holds the clips."""

MAX_CLIPS = 4
"""So many may grow at a time: each holds some of the ring's memory until that is written."""


class Recorder:
    """Takes messages from any thread; `record` never waits for a disk."""

    def __init__(self, config: RecorderConfig, bag: BagConfig) -> None:
        """ConfigError for settings that don't go together, BagError for a useless folder."""
        check_together(config, bag)
        self._config = config
        # A clip is one file, by which it can be handed on.
        self._clip_config = replace(bag, split_mb=0, split_s=0)
        self.folder = Path(config.folder).expanduser()
        self._ring = Ring(config.ring_s, config.ring_mb * 10**6)
        self._latched = TransientLocalMessages()
        self._clips: list[SavedClip] = []
        self._received: Counter[str] = Counter()
        self._lock = threading.Lock()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BagError(f"nothing can be recorded in {self.folder}: {error.strerror}") from error
        quota = Quota(self.folder, config.keep_free_mb * 10**6, round(config.quota_gb * 10**9))
        self._clip_quota = Quota(self.folder, config.keep_free_mb * 10**6)
        self.recording = BackgroundWriter(
            BagWriter(dated_path(self.folder), bag), quota, config.queue_mb * 10**6
        )

    def record(self, recorded: BagMessage) -> None:
        """Take a message."""
        with self._lock:
            self._received[recorded.topic.name] += 1
            if recorded.topic.transient_local:
                self._latched.add(recorded)
            if self._config.ring_s:
                self._ring.append(recorded)
            self.recording.put(recorded)
            for clip in self._clips:
                clip.put(recorded)

    def received(self) -> Counter[str]:
        """Messages that were taken, by topic."""
        with self._lock:
            return self._received.copy()

    def buffered_s(self, now_ns: int) -> float:
        """How many seconds before now the ring holds."""
        with self._lock:
            oldest_ns = self._ring.oldest_ns
        return 0.0 if oldest_ns is None else max(0.0, (now_ns - oldest_ns) / NS_PER_S)

    def save_clip(self, moment: ClipRequest) -> SavedClip:
        """Begin a clip. BagError if there is no place for it."""
        if len(self._clips) >= MAX_CLIPS:
            raise BagError(f"{MAX_CLIPS} clips are being recorded: try again when one is finished")
        bag = create_clip_bag(self.folder / CLIPS, moment, self._clip_config)
        with self._lock:
            kept = self._ring.since(moment.from_ns)
            begin_ns = kept[0].stamp_ns if kept else moment.asked_ns
            # By what is in the ring, and not by stamps: time may have begun anew since.
            there = {id(r) for r in kept}
            before = [
                replace(r, stamp_ns=begin_ns) for r in self._latched.all() if id(r) not in there
            ]
            waiting_bytes = self._config.queue_mb * 10**6
            clip = SavedClip(bag, self._clip_quota, waiting_bytes, moment, [*before, *kept])
            self._clips.append(clip)
        return clip

    def finished_clips(self, now_ns: int) -> list[SavedClip]:
        """End the clips whose time is over; those that are finished since the last call."""
        with self._lock:
            clips = list(self._clips)
        for clip in clips:
            if clip.is_over(now_ns):
                clip.end()
        finished = [clip for clip in clips if clip.is_closed]
        with self._lock:
            self._clips = [clip for clip in self._clips if clip not in finished]
        return finished

    def close(self) -> bool:
        """Finish the bag, and the clips with what there is. False if the disk hangs."""
        closed = [clip.close() for clip in self._clips]
        return self.recording.close() and all(closed)
