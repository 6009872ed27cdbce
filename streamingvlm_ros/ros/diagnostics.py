"""Parts of /diagnostics that several nodes share: counters, and a status from text values."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue


class Counters:
    """Counts by name. Thread-safe."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, number: int = 1) -> None:
        """Add `number` to the counter `name`."""
        with self._lock:
            self._counts[name] += number

    def counts(self) -> Counter[str]:
        """Return a copy of all counts; a name that was never added counts 0."""
        with self._lock:
            return Counter(self._counts)


def diagnostic_status(
    name: str, hardware_id: str, *, level: bytes, message: str, values: Mapping[str, str]
) -> DiagnosticStatus:
    """Return the status of the node `name`, with `values` by key."""
    return DiagnosticStatus(
        level=level,
        name=name,
        message=message,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
