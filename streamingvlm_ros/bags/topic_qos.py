"""Offered quality of service, as bags of all versions write it."""

from __future__ import annotations

import yaml
from rosbags.rosbag2.metadata import dump_qos_v9, parse_qos


def normalised_qos(text: str) -> str:
    """Return the profiles as YAML with words instead of numbers, or unchanged if incomplete."""
    try:
        profiles = parse_qos(text)
    except Exception:  # Damaged or incomplete YAML may raise anything in the library.
        return text
    return yaml.safe_dump(dump_qos_v9(profiles)) if profiles else ""
