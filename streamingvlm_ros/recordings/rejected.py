"""Images of a recording that nobody sees."""

from __future__ import annotations

from collections import Counter


class Rejected:
    """How many images were left out, and in words why the first one of each kind was."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._why: dict[str, str] = {}

    def add(self, kind: str, why: str) -> None:
        """Count one."""
        self._counts[kind] += 1
        self._why.setdefault(kind, why)

    def clear(self) -> None:
        """Begin anew."""
        self._counts.clear()
        self._why.clear()

    def __bool__(self) -> bool:
        return bool(self._counts)

    def __str__(self) -> str:
        return "; ".join(
            f"{count} image{'' if count == 1 else 's'} left out: {self._why[kind]}"
            for kind, count in self._counts.items()
        )
