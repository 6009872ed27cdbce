"""Seconds of a camera's life, told to a history, and what a test wants to know of its file."""

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
PATIENCE_S = 60.0


@contextmanager
def opened(folder: Path, **settings: float) -> Iterator[History]:
    with closing(History(folder, HistoryConfig(**settings))) as history:  # type: ignore[arg-type]
        yield history


def frame(second: float, shade: int = 0) -> Frame:
    """A small grey picture in the middle of a second."""
    return Frame(np.full((24, 32, 3), shade, np.uint8), round((second + 0.5) * S), "optical")


def narrate(history: History, second: int, text: str, shade: int = 0, camera: str = "") -> None:
    """A second with its picture, as the narrator adds it."""
    history.add(Entry(text, second * S, (second + 1) * S, camera=camera), frame(second, shade))


def answer(history: History, question: str, text: str, second: int = 0) -> None:
    history.add(Entry(text, second * S, (second + 16) * S, question))


def texts(history: History, words: str = "", limit: int = 10_000) -> list[str]:
    return [entry.text for entry in history.entries(words=words, limit=limit)[0]]


def seconds(moments: list[HistoryMoment]) -> list[int]:
    """The seconds in which the moments' pictures were taken."""
    return [moment.frame.stamp_ns // S for moment in moments]


def is_sound(folder: Path) -> bool:
    """Whether the file of a closed history is whole, and its index says what its rows say."""
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as database:
        # Raises if the index and the rows differ.
        database.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        found = database.execute("SELECT count(*) FROM words WHERE words MATCH 'second'")
        rows = database.execute("SELECT count(*) FROM entry WHERE text LIKE '%second%'")
        same = found.fetchone() == rows.fetchone()
        return same and database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@contextmanager
def process(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Python code in a process of its own, killed at the end of the block."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def line_of(child: subprocess.Popen[str]) -> str:
    """The next line that a process prints; empty if it ended."""
    assert child.stdout
    return child.stdout.readline().strip()
