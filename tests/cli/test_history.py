"""`streamingvlm history`: a real command line in one process, a real narrator in another."""

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

from ..ros.ros_peer import TINY, Peer, reliable
from ..ros.verbose_model import verbose_model
from ..support.camera import publish_until_narrated
from ..support.cli import command, environment, read_terminal, streamingvlm

QUESTION = "Where is the zebra?"
SECONDS = range(1000, 1012)


@dataclass(frozen=True)
class Past:
    """What a narrator said before it was asked, and the narrator."""

    peer: Peer
    narrations: list[Any]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """A narrator that has spoken of some seconds and answered one question."""
    folder = tmp_path_factory.mktemp("narrator")
    (folder / "model").mkdir()
    parameters = {**verbose_model(folder / "model"), **reliable("/image")}
    parameters["history_folder"] = str(folder / "history")
    with Peer() as peer, peer.process("narrator", **parameters):
        narrations = peer.subscribe(Narration, "/narrator/narration")
        publish_until_narrated(peer, *SECONDS)
        narrations.wait(lambda message: message.start.sec == SECONDS[-1])
        said = [narration for narration in narrations.all() if not narration.silent]
        assert len(said) > 1
        run("ask", peer, QUESTION, "--max-tokens", 3)
        # It is written by and by.
        request = History.Request(limit=1000)
        peer.until(
            lambda: len(peer.call(History, "/narrator/history", request).entries) > len(said)
        )
        yield Past(peer, said)


def run(name: str, peer: Peer, *arguments: object) -> subprocess.CompletedProcess[str]:
    result = streamingvlm(name, *arguments, ROS_DOMAIN_ID=str(peer.domain))
    assert result.returncode == 0, result.stderr
    return result


def records(past: Past, *arguments: object) -> list[dict[str, Any]]:
    result = run("history", past.peer, *arguments, "--json")
    return [json.loads(line) for line in result.stdout.split("\n")[:-1]]


def test_json_lines_hold_all_that_was_said_in_order(past: Past) -> None:
    *narrations, answer = records(past)
    assert [(kept["start_s"], kept["text"]) for kept in narrations] == [
        (said.start.sec, said.text) for said in past.narrations
    ]
    assert all(kept["end_s"] == kept["start_s"] + 1 for kept in narrations)
    assert all(kept["question"] == kept["camera"] == "" for kept in narrations)
    assert answer["question"] == QUESTION
    assert answer["text"]


def test_a_line_has_the_time_and_what_was_said_or_asked(past: Past) -> None:
    result = run("history", past.peer)
    *narrations, answer = result.stdout.split("\n")[:-1]
    times = [line.split("  ")[0] for line in narrations]
    assert times == [f"{said.start.sec}.0 s" for said in past.narrations]
    assert answer.startswith(f"{SECONDS[-1]}.5 s  Q: {QUESTION}  A: ")
    assert result.stderr == ""


def test_words_find_what_holds_any_of_them(past: Past) -> None:
    [found] = records(past, "zebra", "unicorn")
    assert found["question"] == QUESTION


@pytest.mark.parametrize("words", ["", "   "])
def test_words_that_are_none_find_the_newest(past: Past, words: str) -> None:
    assert records(past, words) == records(past)


def test_times_bound_what_is_shown(past: Past) -> None:
    second = past.narrations[1].start.sec
    found = records(past, "--since", second + 0.5, "--until", second + 0.7)
    assert [kept["start_s"] for kept in found if not kept["question"]] == [second]
    assert records(past, "--since", "2026-11-21T14:02") == []


def test_a_limit_keeps_the_newest_and_says_that_there_is_more(past: Past) -> None:
    result = run("history", past.peer, "--limit", 1)
    assert QUESTION in result.stdout
    assert result.stdout.count("\n") == 1
    assert "There is more" in result.stderr


def test_nothing_that_fits_is_said(past: Past) -> None:
    result = run("history", past.peer, "unicorn")
    assert result.stdout == ""
    assert "Nothing" in result.stderr


def test_an_output_without_such_signs_gets_others_instead(past: Past) -> None:
    lines = run("history", past.peer).stdout
    assert not lines.isascii(), "it must try to"
    result = streamingvlm("history", ROS_DOMAIN_ID=str(past.peer.domain), PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == lines.encode("ascii", errors="replace").decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_though_nobody_reads(past: Past, number: signal.Signals) -> None:
    with (
        full_pipe() as pipe,
        subprocess.Popen(
            command("history", "--limit", 1, "--json"),
            # What is printed waits in Python's buffer until all is said.
            env=environment(ROS_DOMAIN_ID=str(past.peer.domain), PYTHONUNBUFFERED=""),
            stdout=pipe,
            stderr=subprocess.PIPE,
        ) as child,
    ):
        try:
            assert child.stderr
            assert b"There is more" in child.stderr.readline()
            child.send_signal(number)
            assert child.wait(60) == -number
        finally:
            child.kill()


def test_a_reader_that_went_away_needs_no_word(past: Past) -> None:
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
    """The end to write into; nobody reads at the other."""
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


def test_on_a_terminal_a_long_text_stays_in_its_column(past: Past) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        command("history", "zebra"),
        env=environment(ROS_DOMAIN_ID=str(past.peer.domain), COLUMNS="24", TERM="xterm"),
        stdout=theirs,
    )
    os.close(theirs)
    first, second, *_ = plain(read_terminal(ours)).splitlines()
    assert child.wait(60) == 0
    indent = len(f"{SECONDS[-1]}.5 s  ")
    assert first.rstrip().endswith("Q: Where is")
    assert second.startswith(" " * indent + "the zebra?")


def plain(text: str) -> str:
    """What is seen of it: without what only moves and colours."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text).replace("\r", "")


def test_what_is_no_time_is_a_usage_error() -> None:
    result = streamingvlm("history", "--since", "-5m")
    assert result.returncode == 2
    assert "--since" in result.stderr
    assert "14:02" in result.stderr


def test_times_that_are_swapped_are_a_usage_error() -> None:
    result = streamingvlm("history", "--since", "14:00", "--until", "13:00")
    assert result.returncode == 2
    assert "--until is before --since" in result.stderr


def test_a_narrator_without_a_history_says_how_to_have_one() -> None:
    with Peer() as peer, peer.process("narrator", **TINY):
        peer.wait_for_status(lambda status: status["state"] == "active")
        result = streamingvlm("history", ROS_DOMAIN_ID=str(peer.domain))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "history_folder" in result.stderr


@pytest.mark.slow
def test_without_a_narrator_it_says_what_to_do() -> None:
    with Peer() as peer:
        result = streamingvlm("history", ROS_DOMAIN_ID=str(peer.domain))
    assert result.returncode == 1
    assert "error: no /narrator in ROS domain" in result.stderr


def test_help_names_it() -> None:
    assert "history" in streamingvlm("--help").stdout
