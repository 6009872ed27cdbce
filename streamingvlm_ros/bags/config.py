"""How bags are written and recorded."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import check_ranges, setting
from ..errors import ConfigError


@dataclass(frozen=True)
class BagConfig:
    """How a bag is written."""

    split_mb: int = setting(
        1024, "A bag's next file begins when one has so many MB; 0: never.", low=0, high=10**6
    )
    split_s: int = setting(
        0, "A bag's next file begins after so many seconds; 0: never.", low=0, high=10**6
    )
    compression: str = setting(
        "zstd", "How a bag's chunks are compressed.", choices=("zstd", "lz4", "none")
    )

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class RecorderConfig:
    """Where is recorded, and how much of everything there may be. MB are millions of bytes."""

    folder: str = setting(
        "", "Each start makes a bag, named by date and time, in this folder; '~' is your home."
    )
    quota_gb: float = setting(
        0.0,
        "Most disk space of the folder's bags; the oldest are deleted first, clips never. 0: no "
        "limit, and nothing is deleted.",
        low=0.0,
        high=1e6,
    )
    keep_free_mb: int = setting(
        500,
        "Recording stops, with the bag finished, before less of the disk is free. 0: it goes on "
        "until the disk is full, and the last half second before that is lost.",
        low=0,
        high=10**7,
    )
    queue_mb: int = setting(
        256, "Most memory of messages that wait for the disk; what is more is dropped and counted.",
        low=1, high=10**5,
    )  # fmt: skip
    ring_s: float = setting(
        30.0, "So many seconds are kept in memory for ~/save_clip; 0: none.", low=0.0, high=3600.0
    )
    ring_mb: int = setting(
        256, "At most so much memory is taken for that: less seconds where images are large.",
        low=0, high=10**5,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_ranges(self)


def check_together(config: RecorderConfig, bag: BagConfig) -> None:
    """ConfigError for settings that contradict each other."""
    if not config.folder:
        raise ConfigError("say where to record: set the parameter folder")
    if config.quota_gb and not bag.split_mb:
        raise ConfigError("a quota needs files of a known size: set split_mb")
    if config.quota_gb and config.quota_gb * 1000 < 2 * bag.split_mb:
        raise ConfigError(
            f"a quota of {config.quota_gb} GB has no room for two files of {bag.split_mb} MB: "
            "raise quota_gb, or lower split_mb"
        )
