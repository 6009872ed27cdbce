"""Exports of recordings, and the files that they wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamingvlm_training.datasets.cutting import CutConfig

from ..support.world_bags import WORLD, film

CUT = CutConfig(clip_s=4.0, overlap_s=2.0)
FILES = ("train.jsonl", "train_seeks.jsonl", "validation.jsonl", "validation_seeks.jsonl")
BAG_SECONDS = 10


def captioned_bags(folder: Path) -> Path:
    """Write the bags one, two and three: different seconds of the world, each with captions."""
    for name, begin in (("one", 0), ("two", 30), ("three", 60)):
        film(folder / name, range(begin, begin + BAG_SECONDS))
        lines = (
            {"start_s": n, "end_s": n + 1, "text": WORLD.caption(begin + n)}
            for n in range(BAG_SECONDS)
        )
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def files(output: Path) -> dict[str, bytes]:
    return {name: (output / name).read_bytes() for name in FILES}


def inodes(output: Path) -> dict[str, int]:
    """Return the inodes of complete videos and parts: a rewritten file has a new one."""
    paths = (path for path in output.glob("*/*") if not path.name.startswith("."))
    return {path.name: path.stat().st_ino for path in paths if not is_incomplete(path)}


def is_incomplete(path: Path) -> bool:
    return path.suffix == ".jsonl" and "clips" not in json.loads(path.read_text().split("\n")[0])


def edit_first_clip(path: Path, edit: Callable[[Any], object]) -> None:
    """Change the first clip of a file of conversations, and remove the offsets."""
    first, *others = map(json.loads, path.read_text().splitlines())
    edit(first)
    path.write_text("".join(f"{json.dumps(clip)}\n" for clip in [first, *others]))
    path.with_name(f"{path.stem}_seeks.jsonl").unlink()
