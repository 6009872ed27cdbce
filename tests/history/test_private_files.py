"""Nobody but the owner can read a history."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from .fixtures import narrate, opened, texts


@pytest.fixture(autouse=True)
def _permissive_umask() -> Iterator[None]:
    """With the umask of many desktops, which lets everybody read new files."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Return the permissions of the folder, as '.', and of its files."""
    paths = {".": folder, **{path.name: path for path in folder.iterdir()}}
    return {name: stat.S_IMODE(path.stat().st_mode) for name, path in paths.items()}


def test_the_database_its_log_and_its_folder_are_private_from_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "robot" / "history"
    with opened(folder) as history:
        narrate(history, 1, text="a red ball", shade=200)
        history.flush()
        private = dict.fromkeys(("", "-wal", "-shm"), 0o600)
        assert modes(folder) == {
            ".": 0o700,
            "history.lock": 0o600,
            **{f"history.sqlite{end}": mode for end, mode in private.items()},
        }
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o755


def test_a_history_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        narrate(history, 1, text="a red ball")
        history.flush()
    for path in (tmp_path, *tmp_path.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o664)
    with opened(tmp_path) as history:
        assert texts(history) == ["a red ball"]
        assert {mode & 0o077 for mode in modes(tmp_path).values()} == {0}


def test_a_folder_with_other_files_keeps_its_permissions_but_the_history_is_private(
    tmp_path: Path,
) -> None:
    (tmp_path / "letter.txt").touch()
    tmp_path.chmod(0o755)
    with opened(tmp_path) as history:
        narrate(history, 1, text="a red ball")
        history.flush()
        modes_after = modes(tmp_path)
    assert (modes_after.pop("."), modes_after.pop("letter.txt")) == (0o755, 0o644)
    assert set(modes_after.values()) == {0o600}


def test_an_empty_folder_that_everybody_may_enter_becomes_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with opened(tmp_path):
        assert modes(tmp_path)["."] == 0o700
