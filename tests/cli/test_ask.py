"""`streamingvlm ask`: a real command line in one process, a real narrator in another."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from streamingvlm_ros.cli.ask import Line
from streamingvlm_ros.errors import StreamingVLMError

from ..support.cli import ROOT, command, environment, read_terminal, streamingvlm

pytest.importorskip("rclpy", reason="asking needs ROS 2")
pytest.importorskip("streamingvlm_ros.action", reason="asking needs this package's interfaces")

from rclpy.action import ActionServer, GoalResponse
from streamingvlm_ros.action import Ask as AskAction
from streamingvlm_ros.msg import Answer

from streamingvlm_ros.ros.client import connected

from ..ros.node_process import Process
from ..ros.ros_peer import Peer, reliable
from ..ros.verbose_model import TOKENS, verbose_model
from ..support.camera import publish_until_narrated

QUESTION = "What is there?"


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """Beside a narrator that has seen two seconds."""
    parameters = {**verbose_model(tmp_path_factory.mktemp("model")), **reliable("/image")}
    with Peer() as peer, peer.process("narrator", **parameters):
        publish_until_narrated(peer, 1000, 1001)
        yield peer


@pytest.fixture(scope="module")
def whole(peer: Peer) -> str:
    """The long answer."""
    told = json.loads(ask(peer, QUESTION, "--json").stdout)
    assert told["tokens"] == TOKENS
    return str(told["answer"])


def ask(peer: Peer, *arguments: object) -> subprocess.CompletedProcess[str]:
    return streamingvlm("ask", *arguments, ROS_DOMAIN_ID=str(peer.domain))


@contextmanager
def asking(
    peer: Peer,
    *arguments: object,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    **environ: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """The command line running beside the test; ended if the test fails."""
    # Where whoever runs the tests lets Python hold nothing back, that would hide whether we do.
    environ = {"PYTHONUNBUFFERED": "", **environ}
    with subprocess.Popen(
        command("ask", *arguments),
        env=environment(ROS_DOMAIN_ID=str(peer.domain), **environ),
        stdout=stdout,
        stderr=stderr,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def first_piece(child: subprocess.Popen[bytes]) -> bytes:
    """What can be read as soon as there is something."""
    assert child.stdout
    return os.read(child.stdout.fileno(), 1 << 16)


def test_the_answer_is_all_that_stands_on_the_standard_output(peer: Peer) -> None:
    told = json.loads(ask(peer, QUESTION, "--max-tokens", 3, "--json").stdout)
    with asking(peer, QUESTION, "--max-tokens", 3) as child:
        out, said = child.communicate(timeout=60)
    assert child.returncode == 0, said
    assert out.decode() == told["answer"] + "\n"
    assert said.decode() == told["message"] + "\n"  # why it isn't whole


def test_json_holds_every_field_of_the_result(peer: Peer) -> None:
    result = ask(peer, QUESTION, "--max-tokens", 3, "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["success"] is True
    assert told["tokens"] == 3
    assert (told["seen_from_s"], told["seen_until_s"]) == (1000.0, 1001.5)
    assert told["moments_s"] == []
    assert told["time_to_first_token_s"] > 0


def test_the_modes_are_those_of_the_narrator(peer: Peer) -> None:
    told = json.loads(ask(peer, QUESTION, "--mode", "recent", "--max-tokens", 3, "--json").stdout)
    assert told["success"] is True
    refused = ask(peer, QUESTION, "--mode", "recent", "--remember")
    assert refused.returncode == 1
    assert "remember" in refused.stderr


def test_when_the_time_is_up_what_there_is_so_far_is_the_answer(peer: Peer) -> None:
    # On a slow machine that may be nothing at all.
    told = json.loads(ask(peer, QUESTION, "--timeout", 0.2, "--json").stdout)
    assert "timeout" in told["message"]
    assert told["tokens"] < TOKENS


def test_a_terminal_is_told_what_the_answer_rests_on(peer: Peer) -> None:
    _, said = ask_beside_terminal(peer, QUESTION, "--max-tokens", 1)
    assert "seen 1000.0 s to 1001.5 s" in said
    assert "first token after" in said
    assert "1 token" in said


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_what_a_terminal_is_told_stays_out_of_a_pipe(peer: Peer, form: tuple[str, ...]) -> None:
    arguments = (QUESTION, "--max-tokens", 3, *form)
    out, _ = ask_beside_terminal(peer, *arguments)
    told = json.loads(ask(peer, QUESTION, "--max-tokens", 3, "--json").stdout)
    if form:
        assert json.loads(out)["answer"] == told["answer"]
    else:
        assert out == told["answer"] + "\n"


def ask_beside_terminal(peer: Peer, *arguments: object) -> tuple[str, str]:
    """What goes into a pipe, and what a person sees who waits at a terminal."""
    ours, theirs = pty.openpty()
    with asking(peer, *arguments, stderr=theirs, TERM="xterm") as child:
        os.close(theirs)
        said = read_terminal(ours)
        out, _ = child.communicate(timeout=60)
    assert child.returncode == 0, said
    return out.decode(), said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_question_and_what_has_come_so_far_stays(
    peer: Peer, whole: str, number: signal.Signals
) -> None:
    answers = peer.subscribe(Answer, "/narrator/answer")
    peer.until(lambda: peer.node.count_publishers("/narrator/answer"))
    with asking(peer, QUESTION) as child:
        piece = first_piece(child)
        child.send_signal(number)
        rest, said = child.communicate(timeout=60)
    out = (piece + rest).decode()
    assert child.returncode == 128 + number, said
    assert said == b""
    # It came while it was still being said, and as soon as it was: Python held nothing back.
    assert 1 < len(out) < len(whole)
    assert len(piece) < io.DEFAULT_BUFFER_SIZE / 2
    assert out.endswith("\n")
    assert whole.startswith(out[:-1])
    assert answers.wait().tokens < TOKENS
    assert ask(peer, QUESTION, "--max-tokens", 3).returncode == 0


def test_a_reader_that_goes_away_cancels_the_question(peer: Peer) -> None:
    answers = peer.subscribe(Answer, "/narrator/answer")
    peer.until(lambda: peer.node.count_publishers("/narrator/answer"))
    with asking(peer, QUESTION) as child:
        first_piece(child)
        assert child.stdout
        assert child.stderr
        child.stdout.close()
        said = child.stderr.read()
        child.wait(60)
    assert child.returncode == 1
    assert said == b""
    assert answers.wait().tokens < TOKENS


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_full_disk_is_one_clear_line(peer: Peer, form: tuple[str, ...]) -> None:
    with (
        Path("/dev/full").open("w") as full,
        asking(peer, QUESTION, *form, "--max-tokens", 3, stdout=full.fileno()) as child,
    ):
        _, said = child.communicate(timeout=60)
    assert child.returncode == 1
    *before, line = said.decode().splitlines()
    assert line == "error: can't write the output: No space left on device"
    assert not [line for line in before if "Traceback" in line or "Error" in line]


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_refused_question_says_why(peer: Peer, form: tuple[str, ...]) -> None:
    result = ask(peer, "   ", *form)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "empty" in result.stderr
    if form:
        told = json.loads(result.stdout)
        assert told["success"] is False
        assert "empty" in told["message"]
    else:
        assert result.stdout == ""


def test_a_name_without_a_slash_is_in_the_root_namespace(peer: Peer) -> None:
    result = ask(peer, QUESTION, "--max-tokens", 1, "--node", "narrator")
    assert result.returncode == 0, result.stderr


def test_a_name_that_no_node_can_have_is_one_clear_line(peer: Peer) -> None:
    result = ask(peer, QUESTION, "--node", "my narrator")
    assert result.returncode == 1
    assert result.stderr.startswith("error: 'my narrator' can't be a node's name")


@pytest.mark.slow
def test_a_narrator_of_another_name_is_named(peer: Peer) -> None:
    result = ask(peer, QUESTION, "--node", "/other")
    assert result.returncode == 1
    assert "error: no /other in ROS domain" in result.stderr
    assert "but /narrator: " in result.stderr


def test_without_a_narrator_it_says_what_to_do() -> None:
    with Peer() as peer:
        result = ask(peer, QUESTION)
    assert result.returncode == 1
    assert result.stdout == ""
    assert f"error: no /narrator in ROS domain {peer.domain}: start it with" in result.stderr


def test_a_narrator_that_is_not_configured_is_told_from_one_that_is_missing() -> None:
    with Peer() as peer, peer.process("narrator", autostart="false"):
        peer.wait_for_status(lambda status: status["state"] == "unconfigured")
        result = ask(peer, QUESTION)
    assert result.returncode == 1
    assert "error: /narrator is there but can't be asked" in result.stderr


def test_an_interrupt_while_it_looks_for_a_narrator_ends_it_quietly() -> None:
    with Peer() as peer, asking(peer, QUESTION) as child:
        peer.until(lambda: f"_streamingvlm_{child.pid}" in peer.node.get_node_names())
        child.send_signal(signal.SIGINT)
        out, said = child.communicate(timeout=60)
    assert (child.returncode, out, said) == (130, b"", b"")


@pytest.mark.slow
def test_a_narrator_that_dies_while_it_answers_is_missed(tmp_path: Path) -> None:
    with Peer() as peer:
        narrator = Process(
            "narrator", {**verbose_model(tmp_path), **reliable("/image")}, domain=peer.domain
        )
        try:
            publish_until_narrated(peer, 1000)
            with asking(peer, QUESTION) as child:
                first_piece(child)
                narrator.child.kill()
                _, said = child.communicate(timeout=120)
        finally:
            narrator.child.kill()
            narrator.child.wait()
    assert child.returncode == 1
    assert b"error: /narrator ended before it had answered" in said


def test_without_ros_it_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "rclpy.py").write_text("raise ImportError('no rclpy here')\n")
    result = streamingvlm("ask", QUESTION, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert result.returncode == 1
    assert "error: asking needs ROS 2" in result.stderr
    assert "streamingvlm doctor" in result.stderr


def test_help_names_it() -> None:
    assert "ask" in streamingvlm("--help").stdout


def test_an_answer_cannot_command_a_terminal(peer: Peer, whole: str) -> None:
    assert any(ord(sign) < 32 for sign in whole), "it must try to"
    ours, theirs = pty.openpty()
    with asking(peer, QUESTION, stdout=theirs) as child:
        os.close(theirs)
        out = read_terminal(ours)
        child.communicate(timeout=60)
    assert not [sign for sign in out if ord(sign) < 32 and sign not in "\r\n"]


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_piece_that_is_lost_on_the_way_leaves_no_hole_in_the_answer(lost: int) -> None:
    pieces = ["A red", " cube", " falls."]

    def answer(goal: Any) -> AskAction.Result:
        for n, text in enumerate(pieces):
            if n != lost:
                offset = len("".join(pieces[:n]))
                goal.publish_feedback(AskAction.Feedback(text=text, offset=offset))
        goal.succeed()
        return AskAction.Result(success=True, answer="".join(pieces))

    with Peer() as peer:
        server = ActionServer(peer.node, AskAction, "/narrator/ask", answer)
        out = ask(peer, QUESTION).stdout
        server.destroy()
    assert out == "A red cube falls.\n"


def test_a_question_that_nobody_takes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamingvlm_ros.ros.client._REPLY_TIMEOUT_S", 0.5)
    ended = threading.Event()

    def take(goal: Any) -> GoalResponse:
        ended.wait()
        return GoalResponse.REJECT

    with Peer() as peer:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(peer.domain))
        server = ActionServer(
            peer.node,
            AskAction,
            "/narrator/ask",
            lambda goal: AskAction.Result(),
            goal_callback=take,
        )
        with connected("narrator", lambda: None) as client:
            with pytest.raises(StreamingVLMError, match="has not replied within"):
                client.ask({"question": QUESTION}, print)
            ended.set()
        server.destroy()


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["A red", " cube."], "A red cube.\n"),
        (["A red"], "A red cube.\n"),
        ([], "A red cube.\n"),
    ],
    ids=["all came", "the last is late", "none came"],
)
def test_whatever_pieces_came_the_whole_answer_is_shown(
    capsys: pytest.CaptureFixture[str], pieces: list[str], shown: str
) -> None:
    with Line(Console().status("")) as line:
        for piece in pieces:
            line.add(piece)
        line.complete("A red cube.")
    assert capsys.readouterr().out == shown
