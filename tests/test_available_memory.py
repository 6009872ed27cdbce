"""Main memory that is still available: the machine's and the limits of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamingvlm_ros.available_memory import available_bytes

MB = 10**6
MACHINE = "MemTotal:       16000000 kB\nMemFree:  1000 kB\nMemAvailable:    8000000 kB\n"
MACHINE_BYTES = 8_000_000 * 1024


class Files:
    """A /proc and a /sys/fs/cgroup in a folder."""

    def __init__(self, root: Path) -> None:
        self.proc, self.cgroups = root / "proc", root / "cgroup"
        self.write(self.proc / "meminfo", MACHINE)

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def belongs_to(self, *lines: str) -> None:
        self.write(self.proc / "self" / "cgroup", "".join(f"{line}\n" for line in lines))

    def group(self, name: str, *, limit: str, used: int, cached: int = 0) -> None:
        """Write a control group of version 2."""
        folder = self.cgroups / name
        self.write(folder / "memory.max", f"{limit}\n")
        self.write(folder / "memory.current", f"{used}\n")
        self.write(folder / "memory.stat", f"anon 1\ninactive_file {cached}\nactive_file 7\n")

    def available(self) -> int | None:
        return available_bytes(self.proc, self.cgroups)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_without_a_limit_it_is_the_machines(files: Files) -> None:
    assert files.available() == MACHINE_BYTES
    files.belongs_to("0::/user.slice/a")
    files.group("user.slice/a", limit="max", used=5 * MB)
    assert files.available() == MACHINE_BYTES


def test_a_containers_limit_counts_without_the_cache_that_is_given_back(files: Files) -> None:
    files.belongs_to("0::/")
    files.group("", limit=str(500 * MB), used=300 * MB, cached=100 * MB)
    assert files.available() == 300 * MB


def test_a_group_around_the_own_may_be_the_narrower(files: Files) -> None:
    files.belongs_to("0::/robot.slice/narrator.service")
    files.group("robot.slice", limit=str(400 * MB), used=350 * MB)
    files.group("robot.slice/narrator.service", limit=str(300 * MB), used=10 * MB)
    assert files.available() == 50 * MB


def test_version_1_of_control_groups_is_read(files: Files) -> None:
    files.belongs_to("12:cpu,cpuacct:/docker/ab", "7:memory:/docker/ab", "1:name=systemd:/x")
    # A container sees its own group as the root, but its path as on the host.
    root = files.cgroups / "memory"
    files.write(root / "memory.limit_in_bytes", f"{200 * MB}\n")
    files.write(root / "memory.usage_in_bytes", f"{150 * MB}\n")
    files.write(root / "memory.stat", f"inactive_file 1\ntotal_inactive_file {20 * MB}\n")
    assert files.available() == 70 * MB


def test_more_used_than_allowed_leaves_none(files: Files) -> None:
    files.belongs_to("0::/")
    files.group("", limit=str(100 * MB), used=120 * MB)
    assert files.available() == 0


def test_it_is_unknown_where_the_system_reports_nothing(tmp_path: Path) -> None:
    assert available_bytes(tmp_path / "no", tmp_path / "none") is None


def test_this_machine_has_some() -> None:
    available = available_bytes()
    assert available is None or 10 * MB < available < 10**14
