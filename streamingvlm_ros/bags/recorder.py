"""The recorder without ROS: all messages go into a bag, the newest also into saved clips."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

from ..errors import BagError
from ..types import NS_PER_S
from .background_writer import BackgroundWriter
from .clip import SavedClip, create_clip_bag
from .config import BagConfig, RecorderConfig, check_together
from .quota import CLIPS, ClipQuota, Quota, dated_path
from .ring import Ring
from .transient_local import TransientLocalMessages
from .types import BagMessage, ClipRequest
from .writer import BagWriter

MAX_CLIPS = 4
"""Clips that may grow at a time. Each shares some of the ring's memory until it is written."""


class Recorder:
    """Takes messages from any thread; `record` never waits for the disk."""

    def __init__(self, config: RecorderConfig, bag: BagConfig) -> None:
        """Start the bag.

        Raises:
            ConfigError: The settings contradict each other.
            BagError: The folder can't be used.
        """
        check_together(config, bag)
        self._config = config
        # A clip is a single file, which is easy to hand on.
        self._clip_config = replace(bag, split_mb=0, split_s=0)
        self.folder = Path(config.folder).expanduser()
        self._ring = Ring(config.ring_s, config.ring_mb * 10**6)
        self._transient_local = TransientLocalMessages()
        self._clips: list[SavedClip] = []
        self._received: Counter[str] = Counter()
        self._max_queued_bytes = config.queue_mb * 10**6
        self._lock = threading.Lock()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BagError(f"nothing can be recorded in {self.folder}: {error.strerror}") from error
        keep_free_bytes = config.keep_free_mb * 10**6
        max_bytes = round(config.quota_gb * 10**9)
        # Two files stay for the recording, so that a clip never ends it.
        max_clip_bytes = max_bytes - 2 * bag.split_mb * 10**6 if max_bytes else None
        self._clip_quota = ClipQuota(self.folder, keep_free_bytes, max_clip_bytes=max_clip_bytes)
        self.recording = BackgroundWriter(
            BagWriter(dated_path(self.folder), bag),
            Quota(self.folder, keep_free_bytes, max_bytes=max_bytes),
            max_queued_bytes=self._max_queued_bytes,
        )

    def record(self, message: BagMessage) -> None:
        """Record a message."""
        with self._lock:
            self._received[message.topic.name] += 1
            if message.topic.transient_local:
                self._transient_local.add(message)
            if self._config.ring_s:
                self._ring.append(message)
            self.recording.put(message)
            for clip in self._clips:
                clip.put(message)

    def received(self) -> Counter[str]:
        """Return the number of messages that were received, by topic."""
        with self._lock:
            return self._received.copy()

    def buffered_s(self, now_ns: int) -> float:
        """Return how many seconds before `now_ns` the ring reaches back."""
        with self._lock:
            oldest_ns = self._ring.oldest_ns
        return 0.0 if oldest_ns is None else max(0.0, (now_ns - oldest_ns) / NS_PER_S)

    def save_clip(self, request: ClipRequest) -> SavedClip:
        """Start saving a clip.

        Raises:
            BagError: Too many clips are growing, the quota has no room for another, or its bag
                can't be created.
        """
        if len(self._clips) >= MAX_CLIPS:
            raise BagError(f"{MAX_CLIPS} clips are being recorded: try again when one is finished")
        self._clip_quota.check_clips(0)
        bag = create_clip_bag(self.folder / CLIPS, request, config=self._clip_config)
        with self._lock:
            clip = SavedClip(
                bag,
                self._clip_quota,
                max_queued_bytes=self._max_queued_bytes,
                request=request,
                earlier=self._earlier(request),
            )
            self._clips.append(clip)
        return clip

    def finished_clips(self, now_ns: int) -> list[SavedClip]:
        """End the clips whose time is over, and return those finished since the last call."""
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
        """Finish the bag and all clips, complete or not. False if the disk hangs."""
        closed = [clip.close() for clip in self._clips]
        return self.recording.close() and all(closed)

    def _earlier(self, request: ClipRequest) -> list[BagMessage]:
        """Return the messages from the clip's start until now, after older transient-local ones."""
        buffered = self._ring.since(request.from_ns)
        begin_ns = buffered[0].stamp_ns if buffered else request.requested_ns
        # By identity and not by stamp: time may have begun anew since.
        ids = {id(message) for message in buffered}
        older = [
            replace(message, stamp_ns=begin_ns)
            for message in self._transient_local.all()
            if id(message) not in ids
        ]
        return [*older, *buffered]
