"""`streamingvlm history` and a narrator in another process."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from streamingvlm_ros.msg import Narration
from streamingvlm_ros.srv import History

from ..ros.node_process import PATIENCE_S
from ..ros.ros_peer import TINY, Peer, reliable
from ..ros.verbose_model import verbose_model
from ..support.camera import publish_until_narrated
from ..support.cli import command, environment, read_terminal, run, streamingvlm

QUESTION = "Where is the zebra?"
SECONDS = range(1000, 1012)


@dataclass(frozen=True)
class Past:
    """A narrator's past narrations, and a node that reaches it."""

    peer: Peer
    narrations: list[Any]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """A narrator that has narrated some seconds and answered one question."""
    folder = tmp_path_factory.mktemp("narrator")
    (folder / "model").mkdir()
    parameters = {**verbose_model(folder / "model"), **reliable("/image")}
    parameters["history_folder"] = str(folder / "history")
    with Peer() as peer, peer.process("narrator", **parameters):
        narrations = peer.subscribe(Narration, "/narrator/narration")
        publish_until_narrated(peer, *SECONDS)
        narrations.wait(lambda message: message.start.sec == SECONDS[-1])
        spoken = [narration for narration in narrations.all() if not narration.silent]
        assert len(spoken) > 1
        run_at(peer, "ask", QUESTION, "--max-tokens", 3)
        # Entries are written in the background.
        request = History.Request(limit=1000)
        peer.until(
            lambda: len(peer.call(History, "/narrator/history", request).entries) > len(spoken)
        )
        yield Past(peer, spoken)


def run_at(peer: Peer, *arguments: object) -> subprocess.CompletedProcess[str]:
    result = run(*arguments, ROS_DOMAIN_ID=str(peer.domain))
    assert result.returncode == 0, result.stderr
    return result


def records(past: Past, *arguments: object) -> list[dict[str, Any]]:
    result = run_at(past.peer, "history", *arguments, "--json")
    return [json.loads(line) for line in result.stdout.split("\n")[:-1]]


def test_json_lines_contain_every_entry_in_order(past: Past) -> None:
    *narrations, answer = records(past)
    assert [(entry["start_s"], entry["text"]) for entry in narrations] == [
        (narration.start.sec, narration.text) for narration in past.narrations
    ]
    assert all(entry["end_s"] == entry["start_s"] + 1 for entry in narrations)
    assert all(entry["question"] == entry["camera"] == "" for entry in narrations)
    assert answer["question"] == QUESTION
    assert answer["text"]


def test_a_line_has_the_time_and_the_narration_or_question_and_answer(past: Past) -> None:
    result = run_at(past.peer, "history")
    *narrations, answer = result.stdout.split("\n")[:-1]
    times = [line.split("  ")[0] for line in narrations]
    assert times == [f"{narration.start.sec}.0 s" for narration in past.narrations]
    assert answer.startswith(f"{SECONDS[-1]}.5 s  Q: {QUESTION}  A: ")
    assert result.stderr == ""


def test_search_words_match_entries_that_contain_any_of_them(past: Past) -> None:
    [entry] = records(past, "zebra", "unicorn")
    assert entry["question"] == QUESTION


@pytest.mark.parametrize("words", ["", "   "])
def test_blank_search_words_return_the_newest(past: Past, words: str) -> None:
    assert records(past, words) == records(past)


def test_since_and_until_limit_the_entries(past: Past) -> None:
    second = past.narrations[1].start.sec
    entries = records(past, "--since", second + 0.5, "--until", second + 0.7)
    assert [entry["start_s"] for entry in entries if not entry["question"]] == [second]
    assert records(past, "--since", "2026-11-21T14:02") == []


def test_a_limit_selects_the_newest_and_reports_that_there_are_more(past: Past) -> None:
    result = run_at(past.peer, "history", "--limit", 1)
    assert QUESTION in result.stdout
    assert result.stdout.count("\n") == 1
    assert "There are more entries" in result.stderr


def test_no_match_is_reported(past: Past) -> None:
    result = run_at(past.peer, "history", "unicorn")
    assert result.stdout == ""
    assert "No entries match" in result.stderr


def test_characters_that_the_output_lacks_are_replaced(past: Past) -> None:
    lines = run_at(past.peer, "history").stdout
    assert not lines.isascii(), "the history needs other characters"
    result = streamingvlm("history", ROS_DOMAIN_ID=str(past.peer.domain), PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == lines.encode("ascii", errors="replace").decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_even_if_nobody_reads_its_output(
    past: Past, number: signal.Signals
) -> None:
    with (
        full_pipe() as pipe,
        subprocess.Popen(
            command("history", "--limit", 1, "--json"),
            # Python buffers the output until the end.
            env=environment(ROS_DOMAIN_ID=str(past.peer.domain), PYTHONUNBUFFERED=""),
            stdout=pipe,
            stderr=subprocess.PIPE,
        ) as child,
    ):
        try:
            assert child.stderr
            assert b"There are more entries" in child.stderr.readline()
            child.send_signal(number)
            assert child.wait(PATIENCE_S) == -number
        finally:
            child.kill()


def test_a_closed_pipe_needs_no_message(past: Past) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    child = subprocess.run(
        command("history", "--json"),
        env=environment(ROS_DOMAIN_ID=str(past.peer.domain), PYTHONUNBUFFERED=""),
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    assert (child.returncode, child.stderr) == (1, b"")


@contextmanager
def full_pipe() -> Iterator[int]:
    """The writing end of a full pipe that nobody reads."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with suppress(BlockingIOError):
        while os.write(theirs, bytes(4096)):
            pass
    os.set_blocking(theirs, True)
    try:
        yield theirs
    finally:
        os.close(ours)
        os.close(theirs)


def test_on_a_terminal_a_long_text_wraps_within_its_column(past: Past) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        command("history", "zebra"),
        env=environment(ROS_DOMAIN_ID=str(past.peer.domain), COLUMNS="24", TERM="xterm"),
        stdout=theirs,
    )
    os.close(theirs)
    first, second, *_ = plain(read_terminal(ours)).splitlines()
    assert child.wait(PATIENCE_S) == 0
    indent = len(f"{SECONDS[-1]}.5 s  ")
    assert first.rstrip().endswith("Q: Where is")
    assert second.startswith(" " * indent + "the zebra?")


def plain(text: str) -> str:
    """The text without escape sequences."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text).replace("\r", "")


def test_an_invalid_time_is_a_usage_error() -> None:
    result = run("history", "--since", "-5m")
    assert result.returncode == 2
    assert "--since" in result.stderr
    assert "14:02" in result.stderr


def test_swapped_times_are_a_usage_error() -> None:
    result = run("history", "--since", "14:00", "--until", "13:00")
    assert result.returncode == 2
    assert "--until is before --since" in result.stderr


def test_a_narrator_without_a_history_says_how_to_enable_it() -> None:
    with Peer() as peer, peer.process("narrator", **TINY):
        peer.wait_for_status(lambda status: status["state"] == "active")
        result = run("history", ROS_DOMAIN_ID=str(peer.domain))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "history_folder" in result.stderr


@pytest.mark.slow
def test_without_a_narrator_the_error_says_what_to_do() -> None:
    with Peer() as peer:
        result = run("history", ROS_DOMAIN_ID=str(peer.domain))
    assert result.returncode == 1
    assert "error: no /narrator in ROS domain" in result.stderr
