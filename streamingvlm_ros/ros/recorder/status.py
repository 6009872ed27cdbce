"""What the recorder reports in /diagnostics."""

from __future__ import annotations

from collections import Counter

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from ...bags.clip import SavedClip
from ...bags.recorder import Recorder
from .subscriptions import TopicSubscriptions


class RecorderStatus:
    """Makes the recorder's diagnostic status, one after another."""

    def __init__(self, name: str, recorder: Recorder) -> None:
        self._name, self._recorder = name, recorder
        self._before: Counter[str] = Counter()
        self.newly_dropped: Counter[str] = Counter()
        """Messages, by topic, that were dropped between the last two reports."""
        self._clips = 0
        self._last: SavedClip | None = None

    def add(self, clip: SavedClip) -> None:
        """Note a finished clip."""
        self._clips += 1
        self._last = clip

    def status(self, subscriptions: TopicSubscriptions) -> DiagnosticStatus:
        """The status now; it warns of what was lost since the one before."""
        recording, lost = self._recorder.recording, subscriptions.lost()
        dropped = Counter(recording.dropped)
        missed = dropped + lost
        new, self._before = missed - self._before, missed
        self.newly_dropped = Counter() if recording.problem else new
        level, message = self._verdict(new)
        last = self._last
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
            "last clip": str(last.folder) if last else "",
        }
        values |= {f"dropped: {name}": str(number) for name, number in sorted(dropped.items())}
        values |= {f"lost on the way: {name}": str(n) for name, n in sorted(lost.items())}
        return DiagnosticStatus(
            level=level,
            name=self._name,
            message=message,
            hardware_id=str(recording.folder),
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _verdict(self, new: Counter[str]) -> tuple[bytes, str]:
        recording = self._recorder.recording
        if recording.problem:
            return DiagnosticStatus.ERROR, f"recording has stopped: {recording.problem}"
        if new:
            return DiagnosticStatus.WARN, f"too slow: {new.total()} messages are not recorded"
        if self._last and self._last.problem:
            return DiagnosticStatus.WARN, f"the last clip is not whole: {self._last.problem}"
        return DiagnosticStatus.OK, "recording"
