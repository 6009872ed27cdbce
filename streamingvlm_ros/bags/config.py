"""Settings of bags and of recording."""

from __future__ import annotations

from typing import Literal

from ..available_memory import available_bytes
from ..errors import ConfigError
from ..setting import setting, settings_group


@settings_group
class BagConfig:
    """Settings of how a bag is written. A MB is a million bytes."""

    split_mb: int = setting(
        1024,
        "Size in MB at which a bag continues in a new file. 0 means no limit.",
        low=0,
        high=10**6,
    )
    split_s: int = setting(
        0,
        "Duration in seconds at which a bag continues in a new file. 0 means no limit.",
        low=0,
        high=10**6,
    )
    compression: Literal["zstd", "lz4", "none"] = setting("zstd", "Compression of a bag's chunks.")


@settings_group
class RecorderConfig:
    """Settings of where to record and of how much. A MB is a million bytes."""

    folder: str = setting(
        "",
        "Folder for the bags; '~' is your home folder. Each start makes a bag in it, named by date "
        "and time.",
    )
    quota_gb: float = setting(
        0.0,
        "Maximum disk space of the folder's bags and saved clips in GB. The oldest bags are "
        "deleted first, clips never. 0 means no limit: nothing is deleted.",
        low=0.0,
        high=1e6,
    )
    keep_free_mb: int = setting(
        500,
        "Free disk space in MB at which recording stops and the bag is closed. 0 means that "
        "recording goes on until the disk is full, which loses the last half second.",
        low=0,
        high=10**7,
    )
    queue_mb: int = setting(
        256,
        "Maximum memory in MB for messages that wait for the disk. Further messages are dropped "
        "and counted.",
        low=1,
        high=10**5,
    )
    ring_s: float = setting(
        30.0,
        "Seconds of messages that stay in memory for ~/save_clip. 0 means none.",
        low=0.0,
        high=3600.0,
    )
    ring_mb: int = setting(
        256,
        "Maximum memory in MB for the messages of ring_s. With large images they cover less time.",
        low=0,
        high=10**5,
    )


def check_together(config: RecorderConfig, bag: BagConfig) -> None:
    """Raise ConfigError if the folder is missing, or disk or memory can't hold the settings."""
    if not config.folder:
        raise ConfigError("no folder to record in; set the parameter folder")
    if config.quota_gb and not bag.split_mb:
        raise ConfigError("quota_gb needs files of limited size; set split_mb")
    if config.quota_gb and config.quota_gb * 1000 < 2 * bag.split_mb:
        raise ConfigError(
            f"quota_gb: {config.quota_gb} GB has no room for two files of {bag.split_mb} MB; raise "
            "quota_gb, or lower split_mb"
        )
    memory_mb = config.queue_mb + (config.ring_mb if config.ring_s else 0)
    available = available_bytes()
    if available is not None and memory_mb * 10**6 > available:
        name = "queue_mb" if config.queue_mb > config.ring_mb else "ring_mb"
        raise ConfigError(
            f"ring_mb and queue_mb may take {memory_mb} MB, but only {available // 10**6} MB of "
            f"main memory are free: lower {name} (now {getattr(config, name)})"
        )
