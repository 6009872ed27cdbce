from __future__ import annotations

from pathlib import Path

import pytest

from streamingvlm_ros.errors import HistoryError
from streamingvlm_ros.history.store import lock_folder

from .fixtures import line_of, process

LOCK = """
import sys
from pathlib import Path
from streamingvlm_ros.history.store import lock_folder
lock = lock_folder(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_missing_folder_is_created(tmp_path: Path) -> None:
    lock_folder(tmp_path / "deep" / "down").close()
    assert (tmp_path / "deep" / "down").is_dir()


def test_a_process_holds_the_lock_until_it_ends_even_if_killed(tmp_path: Path) -> None:
    with process(LOCK, tmp_path) as other:
        assert line_of(other) == "locked"
        with pytest.raises(HistoryError, match="in use by another narrator"):
            lock_folder(tmp_path)
        other.kill()
        other.wait()
        lock_folder(tmp_path).close()


def test_a_folder_is_locked_once_within_a_process(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(HistoryError, match="in use"):
        lock_folder(tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HistoryError, match="choose a writable folder"):
        lock_folder(tmp_path / "file")


def test_a_read_only_folder_is_refused() -> None:
    # Even root can't write here, as whom tests in a container run.
    with pytest.raises(HistoryError, match="choose a writable folder"):
        lock_folder(Path("/proc/history"))
