"""Truth and narration, joined by the second they are about, and how well they agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the world. What isn't known (yet) is None; silence is an empty text."""

    start_ns: int
    truth: str | None
    narration: str | None
    lag_s: float | None

    @property
    def right(self) -> bool:
        """True when something was narrated and it is the truth, to the letter."""
        return self.narration is not None and self.narration == self.truth


@dataclass(frozen=True, slots=True)
class Summary:
    """How a demo went. Accuracy and lags are None before the first round."""

    rounds: int
    accuracy: float | None
    lag_p50_s: float | None
    lag_p95_s: float | None
    dropped_frames: int


class Scoreboard:
    """Collects what is true and what is said, in whatever order it arrives."""

    def __init__(self) -> None:
        self._truth: dict[int, str] = {}
        self._narration: dict[int, tuple[str, float]] = {}
        self._dropped = 0

    @property
    def rounds(self) -> int:
        """Narrations so far."""
        return len(self._narration)

    def add_truth(self, start_ns: int, text: str) -> None:
        """What happens in the second from `start_ns`."""
        self._truth[start_ns] = text

    def add_narration(self, start_ns: int, text: str, lag_s: float, dropped: int) -> None:
        """What was said about the second from `start_ns`.

        `lag_s` is the time from the newest frame's stamp to hearing of it, `dropped` the number
        of frames that were skipped before this round.
        """
        self._narration[start_ns] = (text, lag_s)
        self._dropped += dropped

    def seconds(self) -> list[Second]:
        """Every second from the first narrated one to the last, also those nobody spoke about."""
        if not self._narration:
            return []
        first, last = min(self._narration), max(self._narration)
        known = self._truth.keys() | self._narration.keys()
        return [self._second(start) for start in sorted(known) if first <= start <= last]

    def complete(self) -> bool:
        """Whether the truth of every narrated second is known."""
        return self._narration.keys() <= self._truth.keys()

    def summary(self) -> Summary:
        """Counts over `seconds()`: one without narration, or without known truth, is wrong."""
        seconds = self.seconds()
        if not seconds:
            return Summary(0, None, None, None, self._dropped)
        lags = [lag_s for _, lag_s in self._narration.values()]
        p50, p95 = np.percentile(lags, [50, 95])
        accuracy = sum(second.right for second in seconds) / len(seconds)
        return Summary(self.rounds, accuracy, float(p50), float(p95), self._dropped)

    def _second(self, start_ns: int) -> Second:
        text, lag_s = self._narration.get(start_ns, (None, None))
        return Second(start_ns, self._truth.get(start_ns), text, lag_s)
