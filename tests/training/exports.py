"""What an export has written, to be compared."""

from __future__ import annotations

import json
from pathlib import Path

FILES = ("train.jsonl", "train_seeks.jsonl", "validation.jsonl", "validation_seeks.jsonl")


def files(output: Path) -> dict[str, bytes]:
    return {name: (output / name).read_bytes() for name in FILES}


def inodes(output: Path) -> dict[str, int]:
    """Of whole films and parts: another one is a file that was written anew."""
    found = (path for path in output.glob("*/*") if not path.name.startswith("."))
    return {path.name: path.stat().st_ino for path in found if not only_begun(path)}


def only_begun(path: Path) -> bool:
    return path.suffix == ".jsonl" and "clips" not in json.loads(path.read_text().split("\n")[0])
