"""The history's settings."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import check_ranges, setting


@dataclass(frozen=True)
class HistoryConfig:
    """How much of what was said and seen is kept."""

    history_megabytes: int = setting(
        1000,
        "Most disk space of the history in millions of bytes; the oldest goes first.",
        low=1,
        high=1_000_000,
    )
    history_hours: float = setting(
        168.0,
        "What was written longer ago is thrown away, by the computer's clock.",
        low=0.01,
        high=100_000.0,
    )
    history_picture_seconds: float = setting(
        2.0, "At most one picture is kept in so many seconds of sensor time.", low=0.1, high=3600.0
    )
    history_picture_px: int = setting(
        448, "Longest side of a kept picture; larger ones are shrunk.", low=16, high=2048
    )

    def __post_init__(self) -> None:
        check_ranges(self)
