"""A history filled with narrated seconds, checks of its file, and processes that use one."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from subprocess import PIPE

import numpy as np

from streamingvlm_ros.history.config import HistoryConfig
from streamingvlm_ros.history.store import DATABASE_FILE, Entry, History
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import Frame, HistoryMoment

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120.0


@contextmanager
def opened(folder: Path, **settings: float) -> Iterator[History]:
    """Open a history with these settings, and close it at the end of the block."""
    with closing(History(folder, HistoryConfig(**settings))) as history:  # type: ignore[arg-type]
        yield history


def frame(second: float, shade: int = 0) -> Frame:
    """Return a small grey frame in the middle of a second."""
    return Frame(np.full((24, 32, 3), shade, np.uint8), round((second + 0.5) * S), "optical")


def narrate(
    history: History, second: int, *, text: str = "", shade: int = 0, camera: str = ""
) -> None:
    """Add a second with its frame, like the narrator."""
    history.add(Entry(text, second * S, (second + 1) * S, camera=camera), frame(second, shade))


def answer(history: History, question: str, *, text: str, second: int = 0) -> None:
    """Add an answer, like the narrator."""
    history.add(Entry(text, second * S, (second + 16) * S, question))


def texts(history: History, words: str = "", *, limit: int = 10_000) -> list[str]:
    """Return the texts of all entries, or of those with any of the words."""
    return [entry.text for entry in history.entries(words=words, limit=limit)[0]]


def seconds(moments: list[HistoryMoment]) -> list[int]:
    """Return the seconds of the moments' frames."""
    return [moment.frame.stamp_ns // S for moment in moments]


def is_sound(folder: Path) -> bool:
    """Return whether the file of a closed history is intact and its index matches its rows."""
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as database:
        # Raises if the index and the rows differ.
        database.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        indexed = database.execute("SELECT count(*) FROM words WHERE words MATCH 'second'")
        rows = database.execute("SELECT count(*) FROM entry WHERE text LIKE '%second%'")
        same_count = indexed.fetchone() == rows.fetchone()
        return same_count and database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@contextmanager
def process(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in a process of its own; kill it at the end of the block."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def line_of(child: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints; empty if it ended."""
    assert child.stdout
    return child.stdout.readline().strip()
