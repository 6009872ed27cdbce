"""metadata.yaml, which tells rosbag2 the contents of a bag."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..atomic_write import write_text
from .mcap_file import McapFile
from .types import Topic

METADATA_FILE = "metadata.yaml"
_VERSION = 9


def write_metadata(
    folder: Path, topics: Iterable[Topic], *, files: Sequence[McapFile], custom: dict[str, str]
) -> None:
    """Replace the file atomically. OSError leaves the old one in place."""
    text = yaml.safe_dump(
        {"rosbag2_bagfile_information": _information(topics, files, custom=custom)}
    )
    write_text(folder / METADATA_FILE, text)


def _information(
    topics: Iterable[Topic], files: Sequence[McapFile], *, custom: dict[str, str]
) -> dict[str, Any]:
    counts = sum((file.counts for file in files), Counter[str]())
    filled = [file for file in files if file.counts]
    first_ns = min((file.first_ns for file in filled), default=0)
    last_ns = max((file.last_ns for file in filled), default=0)
    return {
        "version": _VERSION,
        "storage_identifier": "mcap",
        **_span(first_ns, last_ns, counts=counts),
        "topics_with_message_count": [
            {"topic_metadata": _topic(topic), "message_count": counts[topic.name]}
            for topic in topics
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [file.path.name for file in files],
        "files": [
            {"path": file.path.name, **_span(file.first_ns, file.last_ns, counts=file.counts)}
            for file in files
        ],
        "custom_data": custom or None,
        "ros_distro": os.environ.get("ROS_DISTRO", ""),
    }


def _span(first_ns: int, last_ns: int, *, counts: Counter[str]) -> dict[str, Any]:
    return {
        "starting_time": {"nanoseconds_since_epoch": first_ns},
        "duration": {"nanoseconds": last_ns - first_ns},
        "message_count": counts.total(),
    }


def _topic(topic: Topic) -> dict[str, Any]:
    return {
        "name": topic.name,
        "type": topic.type,
        "serialization_format": "cdr",
        "offered_qos_profiles": yaml.safe_load(topic.qos) if topic.qos else [],
        "type_description_hash": topic.hash,
    }
