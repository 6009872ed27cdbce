"""Truth and narration of the demo, matched by second, and how well they agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class ScoredSecond:
    """One second of the world. None is unknown (yet); an empty text is silence."""

    start_ns: int
    truth: str | None
    narration: str | None
    lag_s: float | None

    @property
    def correct(self) -> bool:
        """True if the narration equals the truth exactly."""
        return self.narration is not None and self.narration == self.truth


@dataclass(frozen=True, slots=True)
class Summary:
    """Result of a demo. Accuracy and lags are None before the first round."""

    rounds: int
    accuracy: float | None
    lag_p50_s: float | None
    lag_p95_s: float | None
    dropped_frames: int


class Scoreboard:
    """Collects truth and narration, in whatever order they arrive."""

    def __init__(self) -> None:
        self._truth: dict[int, str] = {}
        self._narration: dict[int, tuple[str, float]] = {}
        self._dropped_frames = 0

    @property
    def rounds(self) -> int:
        """Number of narrations so far."""
        return len(self._narration)

    def add_truth(self, start_ns: int, text: str) -> None:
        """Record what happens in the second from `start_ns`."""
        self._truth[start_ns] = text

    def add_narration(self, start_ns: int, text: str, *, lag_s: float, dropped_frames: int) -> None:
        """Record the narration of the second from `start_ns`.

        `lag_s` is the time from the newest frame's stamp to the narration's arrival.
        `dropped_frames` were skipped before this round.
        """
        self._narration[start_ns] = (text, lag_s)
        self._dropped_frames += dropped_frames

    def seconds(self) -> list[ScoredSecond]:
        """Return every second from the first narrated one to the last, skipped ones included."""
        if not self._narration:
            return []
        first, last = min(self._narration), max(self._narration)
        known = self._truth.keys() | self._narration.keys()
        return [self._second(start) for start in sorted(known) if first <= start <= last]

    def complete(self) -> bool:
        """Return True if the truth of every narrated second is known."""
        return self._narration.keys() <= self._truth.keys()

    def summary(self) -> Summary:
        """Summarise `seconds()`. A second without narration or without known truth is wrong."""
        seconds = self.seconds()
        if not seconds:
            return Summary(0, None, None, None, self._dropped_frames)
        lags = [lag_s for _, lag_s in self._narration.values()]
        p50, p95 = np.percentile(lags, [50, 95])
        accuracy = sum(second.correct for second in seconds) / len(seconds)
        return Summary(self.rounds, accuracy, float(p50), float(p95), self._dropped_frames)

    def _second(self, start_ns: int) -> ScoredSecond:
        text, lag_s = self._narration.get(start_ns, (None, None))
        return ScoredSecond(start_ns, self._truth.get(start_ns), text, lag_s)
