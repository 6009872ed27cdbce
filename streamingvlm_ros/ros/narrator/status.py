"""The narrator's status in /diagnostics."""

from __future__ import annotations

from collections import Counter

from diagnostic_msgs.msg import DiagnosticStatus

from ..diagnostics import Counters, diagnostic_status

FRAMES = ("frames received", "frames sampled", "frames dropped", "frames late", "frames bad")
"""Counters that are always reported. Bad frames are also counted by reason: `frames bad: size`."""

ROUNDS, FAILURES, JUMPS = "rounds", "failures", "jumps back in time"

MAX_REPORTS_WITHOUT_IMAGE = 5
"""After so many reports in a row without an image the status warns. A slow camera needs fewer."""


class NarratorStatus:
    """Turns the narrator's counters into one diagnostic status after another."""

    def __init__(self, name: str, counters: Counters) -> None:
        self._name = name
        self._counters = counters
        self._previous: Counter[str] = Counter()
        self._reports_without_image = 0

    def status(self, problem: str, values: dict[str, str]) -> DiagnosticStatus:
        """Return the status now; it warns of what went wrong since the previous one.

        Args:
            problem: what keeps the node from working; empty if nothing does.
            values: text by key. `state` and `model` are required, `topic` is present while
                images are expected, and `history: failed` while the node has a history.
        """
        counts = self._counters.counts()
        new = counts - self._previous
        self._previous = counts
        images_missing = "topic" in values and not new["frames received"]
        self._reports_without_image = self._reports_without_image + 1 if images_missing else 0
        level, message = self._level_and_message(problem, values, new=new)
        names = (*FRAMES, ROUNDS, FAILURES, *sorted(counts))
        return diagnostic_status(
            self._name,
            values["model"],
            level=level,
            message=message,
            values={**values, **{name: str(counts[name]) for name in names}},
        )

    def _level_and_message(
        self, problem: str, values: dict[str, str], *, new: Counter[str]
    ) -> tuple[bytes, str]:
        if problem:
            return DiagnosticStatus.ERROR, problem
        if new[FAILURES]:
            return DiagnosticStatus.ERROR, "a round failed: see the log"
        if new["frames bad"]:
            return DiagnosticStatus.WARN, f"{new['frames bad']} unusable images: see the log"
        if new[JUMPS]:
            return (
                DiagnosticStatus.WARN,
                "image stamps jumped back: a looping bag, or two cameras on one topic",
            )
        if new["frames dropped"]:
            return DiagnosticStatus.WARN, f"too slow: {new['frames dropped']} frames dropped"
        if values.get("history: failed"):
            return (
                DiagnosticStatus.WARN,
                f"the history is not being written: {values['history: failed']}",
            )
        if self._reports_without_image >= MAX_REPORTS_WITHOUT_IMAGE:
            return DiagnosticStatus.WARN, f"no images on {values['topic']}"
        return DiagnosticStatus.OK, values["state"]
