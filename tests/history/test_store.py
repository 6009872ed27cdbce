"""The history from outside: stored on disk, whatever happens to the process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from streamingvlm_ros.errors import HistoryError
from streamingvlm_ros.history.config import HistoryConfig
from streamingvlm_ros.history.store import Entry, History
from streamingvlm_ros.types import NS_PER_S as S

from .fixtures import (
    TIMEOUT_S,
    answer,
    is_sound,
    line_of,
    narrate,
    opened,
    process,
    seconds,
    texts,
)


def test_entries_and_pictures_survive_a_restart(tmp_path: Path) -> None:
    entry = Entry("Yes, red.", 3 * S, 19 * S, "Is there a ball?", "front")
    with opened(tmp_path) as history:
        narrate(history, 0, text="a red ball")
        history.add(entry)
    with opened(tmp_path) as history:
        assert history.entries() == ([Entry("a red ball", 0, S), entry], False)
        assert seconds(history.moments("ball", 4)) == [0]
        narrate(history, 1, text="a blue cube")
        history.flush()
        assert texts(history) == ["a red ball", "Yes, red.", "a blue cube"]


def test_only_the_picture_of_a_silent_second_is_stored(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        narrate(history, 0, text="")
        answer(history, "Is it?", text="")
        history.flush()
        assert history.entries() == ([], False)
        assert [moment.text for moment in history.moments("What happened?", 1)] == [""]


def test_entries_come_in_the_order_of_arrival(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        for second in (100, 101, 5, 6):
            narrate(history, second, text=f"second {second}")
        history.flush()
        assert texts(history) == [f"second {n}" for n in (100, 101, 5, 6)]
        assert texts(history, "second") == texts(history)


def test_a_limit_returns_the_newest_entries_and_whether_there_are_more(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        for second in range(5):
            narrate(history, second, text=f"second {second}")
        history.flush()
        for words in ("", "second"):
            assert texts(history, words, limit=2) == ["second 3", "second 4"]
            assert history.entries(words=words, limit=4)[1]
            assert not history.entries(words=words, limit=5)[1]
        assert len(history.entries()[0]) == 5


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, [0, 1, 2, 3, 4]),
        (2 * S, None, [2, 3, 4]),
        (2 * S - 1, None, [1, 2, 3, 4]),
        (None, 2 * S, [0, 1]),
        (None, 2 * S + 1, [0, 1, 2]),
        (S, 3 * S, [1, 2]),
        (3 * S, S, []),
    ],
)
@pytest.mark.parametrize("words", ["", "second"])
def test_entries_between_two_times_overlap_that_span(
    tmp_path: Path, since: int | None, until: int | None, expected: list[int], words: str
) -> None:
    with opened(tmp_path) as history:
        for second in range(5):
            narrate(history, second, text=f"second {second}")
        history.flush()
        entries = history.entries(since, until, words=words)[0]
    assert [entry.start_ns // S for entry in entries] == expected


def test_closing_writes_the_queue(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        for second in range(500):
            narrate(history, second, text=f"second {second}")
    with opened(tmp_path) as history:
        assert len(texts(history)) == 500
    assert is_sound(tmp_path)


def test_after_closing_entries_are_lost_and_nothing_hangs(tmp_path: Path) -> None:
    history = History(tmp_path, HistoryConfig())
    history.close()
    history.close()
    narrate(history, 0, text="too late")
    narrate(history, 0, text="")
    history.add(Entry("", 0, S))
    history.flush()
    assert history.lost == 2
    for ask in (history.entries, lambda: history.moments("late", 1)):
        with pytest.raises(HistoryError, match="can't be read"):
            ask()


KILLED = """
import itertools, sys
from pathlib import Path
from tests.history.fixtures import History, HistoryConfig, narrate
history = History(Path(sys.argv[1]), HistoryConfig())
for second in itertools.count():
    narrate(history, second, text=f"second {second}")
    if second % 100 == 99:
        history.flush()
        print(second + 1, flush=True)
"""


def test_flushed_entries_survive_a_killed_process(tmp_path: Path) -> None:
    with process(KILLED, tmp_path) as child:
        flushed = [int(line_of(child)) for _ in range(5)][-1]
        child.kill()
        child.wait()
    with opened(tmp_path) as history:
        survivors = texts(history)
        assert survivors == [f"second {n}" for n in range(len(survivors))]
        assert len(survivors) >= flushed == 500
        assert seconds(history.moments("second 498", 1)) == [498]
        narrate(history, 0, text="revived")
        history.flush()
        assert texts(history, "revived") == ["revived"]
    assert is_sound(tmp_path)


OPEN = """
import sys
from pathlib import Path
from tests.history.fixtures import History, HistoryConfig
history = History(Path(sys.argv[1]), HistoryConfig())
print("open", flush=True)
sys.stdin.read()
"""


def test_a_folder_is_locked_by_one_process(tmp_path: Path) -> None:
    with process(OPEN, tmp_path) as other:
        assert line_of(other) == "open"
        with pytest.raises(HistoryError, match="in use by another narrator"):
            History(tmp_path, HistoryConfig())
    with opened(tmp_path) as history:
        assert texts(history) == []


def test_many_threads_add_and_read_concurrently(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def use(history: History, camera: str) -> None:
        try:
            for second in range(100):
                narrate(history, second, text=f"second {second} of {camera}", camera=camera)
                history.entries(words="second", limit=5)
                history.moments("second", 2)
        except BaseException as error:
            failures.append(error)

    with opened(tmp_path) as history:
        names = [f"camera{n}" for n in range(4)]
        threads = [threading.Thread(target=use, args=(history, name)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
        history.flush()
        assert failures == []
        for name in names:
            assert texts(history, name) == [f"second {n} of {name}" for n in range(100)]
    assert is_sound(tmp_path)
