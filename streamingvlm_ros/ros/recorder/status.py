"""The recorder's status in /diagnostics."""

from __future__ import annotations

from collections import Counter

from diagnostic_msgs.msg import DiagnosticStatus

from ...bags.clip import SavedClip
from ...bags.recorder import Recorder
from ..diagnostics import diagnostic_status
from .subscriptions import TopicSubscriptions


class RecorderStatus:
    """Turns the recorder's counters into one diagnostic status after another."""

    def __init__(self, name: str, recorder: Recorder) -> None:
        self._name, self._recorder = name, recorder
        self._previous: Counter[str] = Counter()
        self.newly_dropped: Counter[str] = Counter()
        """Messages, by topic, that were dropped or lost between the last two reports."""
        self._clips = 0
        self._last_clip: SavedClip | None = None

    def add_clip(self, clip: SavedClip) -> None:
        """Count a finished clip."""
        self._clips += 1
        self._last_clip = clip

    def status(self, subscriptions: TopicSubscriptions) -> DiagnosticStatus:
        """Return the status now; it warns of losses since the previous one."""
        recording, lost = self._recorder.recording, subscriptions.lost()
        dropped = Counter(recording.dropped)
        missing = dropped + lost
        new, self._previous = missing - self._previous, missing
        self.newly_dropped = Counter() if recording.problem else new
        level, message = self._level_and_message(new)
        values = {
            "state": "stopped" if recording.problem else "recording",
            "bag": str(recording.folder),
            "topics": " ".join(subscriptions.names),
            "bytes": str(recording.size_bytes),
            "received": str(self._recorder.received().total()),
            "written": str(recording.written.total()),
            "dropped": str(dropped.total()),
            "lost on the way": str(lost.total()),
            "clips": str(self._clips),
            "last clip": str(self._last_clip.folder) if self._last_clip else "",
        }
        values |= {f"dropped: {name}": str(number) for name, number in sorted(dropped.items())}
        values |= {f"lost on the way: {name}": str(n) for name, n in sorted(lost.items())}
        return diagnostic_status(
            self._name, str(recording.folder), level=level, message=message, values=values
        )

    def _level_and_message(self, new: Counter[str]) -> tuple[bytes, str]:
        recording = self._recorder.recording
        if recording.problem:
            return DiagnosticStatus.ERROR, f"recording has stopped: {recording.problem}"
        if new:
            return DiagnosticStatus.WARN, f"too slow: {new.total()} messages were not recorded"
        if self._last_clip and self._last_clip.problem:
            return (
                DiagnosticStatus.WARN,
                f"the last clip is incomplete: {self._last_clip.problem}",
            )
        return DiagnosticStatus.OK, "recording"
