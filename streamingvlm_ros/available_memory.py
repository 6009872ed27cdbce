"""Main memory that this process may still take: the machine's, or its container's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")

_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
"""Files of a control group: its limit, its use, and the part of the use that is given back."""


def available_bytes(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int | None:
    """Return the available main memory in bytes; None where the system reports none.

    Beyond it Linux kills a process. The limits of control groups (containers, systemd) count, and
    those of the groups around them.
    """
    rooms = [*_machine(proc / "meminfo"), *_groups(proc / "self" / "cgroup", cgroups)]
    return max(0, min(rooms)) if rooms else None


def _machine(meminfo: Path) -> Iterator[int]:
    fields = _fields(meminfo)
    if "MemAvailable:" in fields:
        yield fields["MemAvailable:"] * 1024


def _groups(membership: Path, cgroups: Path) -> Iterator[int]:
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, files = (cgroups / "memory", _V1) if controllers else (cgroups, _V2)
        group = root / path.lstrip("/")
        # In a container the path may be the host's; the container's own group is then the root.
        for folder in (group, *group.parents):
            if folder.is_relative_to(root):
                yield from _group(folder, files)


def _group(folder: Path, files: tuple[str, str, str]) -> Iterator[int]:
    limit, use, cached = files
    with suppress(OSError, ValueError):  # no limit: "max", or no such file
        free = int((folder / limit).read_text()) - int((folder / use).read_text())
        yield free + _fields(folder / "memory.stat").get(cached, 0)


def _fields(path: Path) -> dict[str, int]:
    """Return the numbers of a file with a name and a number in each line."""
    words = (line.split() for line in _lines(path))
    return {name: int(number) for name, number, *_ in words}


def _lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text().splitlines()
    return []
