"""What is counted, and how it reads in /diagnostics."""

from __future__ import annotations

import threading
from collections import Counter

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue


class Counters:
    """Counts by name. Safe between threads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, number: int = 1) -> None:
        """Count `number` more."""
        with self._lock:
            self._counts[name] += number

    def counts(self) -> Counter[str]:
        """All counts until now; 0 for what was never counted."""
        with self._lock:
            return Counter(self._counts)


FRAMES = ("frames received", "frames sampled", "frames dropped", "frames late", "frames bad")
"""Counted always. Bad ones also by reason, as `frames bad: encoding`."""

ROUNDS, FAILURES, JUMPS = "rounds", "failures", "jumps back in time"

PATIENCE = 5
"""So many reports in a row without an image are worth a warning; a slow camera is not."""


class Report:
    """Makes the node's diagnostic status from its counts, one after another."""

    def __init__(self, name: str, counters: Counters) -> None:
        self._name = name
        self._counters = counters
        self._before: Counter[str] = Counter()
        self._quiet = 0

    def status(self, problem: str, diagnostics: dict[str, str]) -> DiagnosticStatus:
        """The status now; it warns of what went wrong since the one before.

        `problem` is what keeps the node from its work, or empty. `facts` have `state`, `model`
        and, while images are expected, `topic`; while a history is kept, `history: failed`.
        """
        counts = self._counters.counts()
        new = counts - self._before
        self._before = counts
        self._quiet = 0 if new["frames received"] or "topic" not in diagnostics else self._quiet + 1
        level, message = self._verdict(problem, diagnostics, new)
        shown = {name: str(counts[name]) for name in (*FRAMES, ROUNDS, FAILURES)}
        shown |= {name: str(counts[name]) for name in sorted(counts)}
        values = {**diagnostics, **shown}
        return DiagnosticStatus(
            level=level,
            name=self._name,
            message=message,
            hardware_id=diagnostics["model"],
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _verdict(
        self, problem: str, diagnostics: dict[str, str], new: Counter[str]
    ) -> tuple[bytes, str]:
        if problem:
            return DiagnosticStatus.ERROR, problem
        if new[FAILURES]:
            return DiagnosticStatus.ERROR, "a round failed: see the log"
        if new["frames bad"]:
            return DiagnosticStatus.WARN, f"{new['frames bad']} images could not be used"
        if new[JUMPS]:
            return DiagnosticStatus.WARN, "stamps jumped back: two cameras on one topic, or a loop"
        if new["frames dropped"]:
            return DiagnosticStatus.WARN, f"too slow: {new['frames dropped']} frames skipped"
        if diagnostics.get("history: failed"):
            return DiagnosticStatus.WARN, f"no history is kept: {diagnostics['history: failed']}"
        if self._quiet >= PATIENCE:
            return DiagnosticStatus.WARN, f"no images on {diagnostics['topic']}"
        return DiagnosticStatus.OK, diagnostics["state"]
