from __future__ import annotations

from pathlib import Path

import pytest

from streamingvlm_ros.errors import HistoryError
from streamingvlm_ros.history.store import lock_folder

from .fixtures import line_of, process

HOLD = """
import sys
from pathlib import Path
from streamingvlm_ros.history.store import lock_folder
held = lock_folder(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_folder_is_made(tmp_path: Path) -> None:
    lock_folder(tmp_path / "deep" / "down").close()
    assert (tmp_path / "deep" / "down").is_dir()


def test_a_folder_is_held_by_one_process_until_it_ends_by_whatever_means(tmp_path: Path) -> None:
    with process(HOLD, tmp_path) as other:
        assert line_of(other) == "held"
        with pytest.raises(HistoryError, match="in use by another narrator"):
            lock_folder(tmp_path)
        other.kill()
        other.wait()
        lock_folder(tmp_path).close()


def test_a_folder_is_held_once_within_a_process(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(HistoryError, match="in use"):
        lock_folder(tmp_path)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HistoryError, match="choose a writable folder"):
        lock_folder(tmp_path / "file")


def test_a_folder_that_nobody_can_write_to_is_refused() -> None:
    # Where even root is refused, as in a container's tests.
    with pytest.raises(HistoryError, match="choose a writable folder"):
        lock_folder(Path("/proc/history"))
