"""Settings of the history."""

from __future__ import annotations

from ..setting import setting, settings_group


@settings_group
class HistoryConfig:
    """Limits of the narration, answers and pictures that are stored."""

    history_megabytes: int = setting(
        1000,
        "Maximum disk space of the history in millions of bytes. The oldest entries are deleted "
        "first.",
        low=1,
        high=1_000_000,
    )
    history_hours: float = setting(
        168.0,
        "Maximum age of an entry in hours of the computer's clock. Older entries are deleted.",
        low=0.01,
        high=100_000.0,
    )
    history_picture_seconds: float = setting(
        2.0,
        "Minimum time between two stored pictures in seconds of sensor time.",
        low=0.1,
        high=3600.0,
    )
    history_picture_px: int = setting(
        448,
        "Maximum length of a stored picture's longer side in pixels. Larger pictures are shrunk.",
        low=16,
        high=2048,
    )
