"""`streamingvlm ask` and a narrator in another process."""

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

from streamingvlm_ros.cli.ask import AnswerLine
from streamingvlm_ros.errors import StreamingVLMError

from ..support.cli import ROOT, command, environment, read_terminal, run, streamingvlm

pytest.importorskip("rclpy", reason="asking needs ROS 2")
pytest.importorskip("streamingvlm_ros.action", reason="asking needs this package's interfaces")

from rclpy.action import ActionServer, GoalResponse
from streamingvlm_ros.action import Ask as AskAction
from streamingvlm_ros.msg import Answer

from streamingvlm_ros.ros.client import connected

from ..ros.node_process import PATIENCE_S, Process
from ..ros.ros_peer import Peer, reliable
from ..ros.verbose_model import TOKENS, verbose_model
from ..support.camera import publish_until_narrated

QUESTION = "What is there?"


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """A node beside a narrator that has seen two seconds."""
    parameters = {**verbose_model(tmp_path_factory.mktemp("model")), **reliable("/image")}
    with Peer() as peer, peer.process("narrator", **parameters):
        publish_until_narrated(peer, 1000, 1001)
        yield peer


@pytest.fixture(scope="module")
def long_answer(peer: Peer) -> str:
    """The answer without a limit."""
    result = json.loads(ask(peer, QUESTION, "--json").stdout)
    assert result["tokens"] == TOKENS
    return str(result["answer"])


def ask(peer: Peer, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run("ask", *arguments, ROS_DOMAIN_ID=str(peer.domain))


@contextmanager
def asking(
    peer: Peer,
    *arguments: object,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    **environ: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process beside the test, killed if the test fails."""
    # With PYTHONUNBUFFERED from outside, a missing flush would go unnoticed.
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


def first_output(child: subprocess.Popen[bytes]) -> bytes:
    """The first output, as soon as there is any."""
    assert child.stdout
    return os.read(child.stdout.fileno(), 1 << 16)


def test_standard_output_contains_the_answer_only(peer: Peer) -> None:
    result = json.loads(ask(peer, QUESTION, "--max-tokens", 3, "--json").stdout)
    with asking(peer, QUESTION, "--max-tokens", 3) as child:
        out, error = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0, error
    assert out.decode() == result["answer"] + "\n"
    assert error.decode() == result["message"] + "\n"  # why it is incomplete


def test_json_contains_every_field_of_the_result(peer: Peer) -> None:
    done = ask(peer, QUESTION, "--max-tokens", 3, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["success"] is True
    assert result["tokens"] == 3
    assert (result["seen_from_s"], result["seen_until_s"]) == (1000.0, 1001.5)
    assert result["moments_s"] == []
    assert result["time_to_first_token_s"] > 0


def test_the_mode_reaches_the_narrator(peer: Peer) -> None:
    options = ("--mode", "recent", "--max-tokens", 3, "--json")
    assert json.loads(ask(peer, QUESTION, *options).stdout)["success"] is True
    rejected = ask(peer, QUESTION, "--mode", "recent", "--remember")
    assert rejected.returncode == 1
    assert "remember" in rejected.stderr


def test_after_the_timeout_the_answer_is_what_was_generated_so_far(peer: Peer) -> None:
    # On a slow machine that may be nothing.
    result = json.loads(ask(peer, QUESTION, "--timeout", 0.2, "--json").stdout)
    assert "timeout" in result["message"]
    assert result["tokens"] < TOKENS


def test_a_terminal_shows_what_the_answer_is_based_on(peer: Peer) -> None:
    _, screen = ask_at_terminal(peer, QUESTION, "--max-tokens", 1)
    assert "seen 1000.0 s to 1001.5 s" in screen
    assert "first token after" in screen
    assert "1 token" in screen


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_status_on_the_terminal_stays_out_of_the_pipe(peer: Peer, form: tuple[str, ...]) -> None:
    out, _ = ask_at_terminal(peer, QUESTION, "--max-tokens", 3, *form)
    result = json.loads(ask(peer, QUESTION, "--max-tokens", 3, "--json").stdout)
    if form:
        assert json.loads(out)["answer"] == result["answer"]
    else:
        assert out == result["answer"] + "\n"


def ask_at_terminal(peer: Peer, *arguments: object) -> tuple[str, str]:
    """What goes into a pipe, and what the terminal shows on standard error."""
    ours, theirs = pty.openpty()
    with asking(peer, *arguments, stderr=theirs, TERM="xterm") as child:
        os.close(theirs)
        screen = read_terminal(ours)
        out, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0, screen
    return out.decode(), screen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_question_and_keeps_the_output_so_far(
    peer: Peer, long_answer: str, number: signal.Signals
) -> None:
    answers = peer.subscribe(Answer, "/narrator/answer")
    peer.until(lambda: peer.node.count_publishers("/narrator/answer"))
    with asking(peer, QUESTION) as child:
        start = first_output(child)
        child.send_signal(number)
        rest, error = child.communicate(timeout=PATIENCE_S)
    out = (start + rest).decode()
    assert child.returncode == 128 + number, error
    assert error == b""
    # The output arrived during generation, and at once: Python buffered nothing.
    assert 1 < len(out) < len(long_answer)
    assert len(start) < io.DEFAULT_BUFFER_SIZE / 2
    assert out.endswith("\n")
    assert long_answer.startswith(out[:-1])
    assert answers.wait().tokens < TOKENS
    assert ask(peer, QUESTION, "--max-tokens", 3).returncode == 0


def test_a_closed_pipe_cancels_the_question(peer: Peer) -> None:
    answers = peer.subscribe(Answer, "/narrator/answer")
    peer.until(lambda: peer.node.count_publishers("/narrator/answer"))
    with asking(peer, QUESTION) as child:
        first_output(child)
        assert child.stdout
        assert child.stderr
        child.stdout.close()
        error = child.stderr.read()
        child.wait(PATIENCE_S)
    assert child.returncode == 1
    assert error == b""
    assert answers.wait().tokens < TOKENS


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_full_disk_is_reported_in_one_line(peer: Peer, form: tuple[str, ...]) -> None:
    with (
        Path("/dev/full").open("w") as full,
        asking(peer, QUESTION, *form, "--max-tokens", 3, stdout=full.fileno()) as child,
    ):
        _, error = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 1
    *others, last = error.decode().splitlines()
    assert last == "error: can't write the output: No space left on device"
    assert not [line for line in others if "Traceback" in line or "Error" in line]


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_rejected_question_reports_the_reason(peer: Peer, form: tuple[str, ...]) -> None:
    result = ask(peer, "   ", *form)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "empty" in result.stderr
    if form:
        record = json.loads(result.stdout)
        assert record["success"] is False
        assert "empty" in record["message"]
    else:
        assert result.stdout == ""


def test_a_name_without_a_slash_is_in_the_root_namespace(peer: Peer) -> None:
    result = ask(peer, QUESTION, "--max-tokens", 1, "--node", "narrator")
    assert result.returncode == 0, result.stderr


def test_an_invalid_node_name_is_reported_in_one_line(peer: Peer) -> None:
    result = ask(peer, QUESTION, "--node", "my narrator")
    assert result.returncode == 1
    assert result.stderr.startswith("error: 'my narrator' is not a valid node name")


@pytest.mark.slow
def test_a_narrator_with_another_name_is_suggested(peer: Peer) -> None:
    result = ask(peer, QUESTION, "--node", "/other")
    assert result.returncode == 1
    assert "error: no /other in ROS domain" in result.stderr
    assert "but /narrator: " in result.stderr


def test_without_a_narrator_the_error_says_what_to_do() -> None:
    with Peer() as peer:
        result = ask(peer, QUESTION)
    assert result.returncode == 1
    assert result.stdout == ""
    assert f"error: no /narrator in ROS domain {peer.domain}: start it with" in result.stderr


def test_an_unconfigured_narrator_is_distinguished_from_a_missing_one() -> None:
    with Peer() as peer, peer.process("narrator", autostart="false"):
        peer.wait_for_status(lambda status: status["state"] == "unconfigured")
        result = ask(peer, QUESTION)
    assert result.returncode == 1
    assert "error: /narrator runs but can't be asked" in result.stderr


def test_an_interrupt_during_discovery_ends_quietly() -> None:
    with Peer() as peer, asking(peer, QUESTION) as child:
        peer.until(lambda: f"_streamingvlm_{child.pid}" in peer.node.get_node_names())
        child.send_signal(signal.SIGINT)
        out, error = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, out, error) == (130, b"", b"")


@pytest.mark.slow
def test_a_narrator_that_dies_while_answering_is_reported(tmp_path: Path) -> None:
    with Peer() as peer:
        narrator = Process(
            "narrator", {**verbose_model(tmp_path), **reliable("/image")}, domain=peer.domain
        )
        try:
            publish_until_narrated(peer, 1000)
            with asking(peer, QUESTION) as child:
                first_output(child)
                narrator.child.kill()
                _, error = child.communicate(timeout=PATIENCE_S)
        finally:
            narrator.child.kill()
            narrator.child.wait()
    assert child.returncode == 1
    assert b"error: /narrator ended before it had answered" in error


def test_without_ros_the_error_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "rclpy.py").write_text("raise ImportError('no rclpy here')\n")
    result = streamingvlm("ask", QUESTION, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert result.returncode == 1
    assert "error: asking needs ROS 2" in result.stderr
    assert "streamingvlm doctor" in result.stderr


def test_an_answer_cannot_control_the_terminal(peer: Peer, long_answer: str) -> None:
    assert any(ord(char) < 32 for char in long_answer), "the answer needs control characters"
    ours, theirs = pty.openpty()
    with asking(peer, QUESTION, stdout=theirs) as child:
        os.close(theirs)
        out = read_terminal(ours)
        child.communicate(timeout=PATIENCE_S)
    assert not [char for char in out if ord(char) < 32 and char not in "\r\n"]


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_lost_feedback_leaves_no_gap_in_the_answer(lost: int) -> None:
    texts = ["A red", " cube", " falls."]

    def answer(goal: Any) -> AskAction.Result:
        for n, text in enumerate(texts):
            if n != lost:
                offset = len("".join(texts[:n]))
                goal.publish_feedback(AskAction.Feedback(text=text, offset=offset))
        goal.succeed()
        return AskAction.Result(success=True, answer="".join(texts))

    with Peer() as peer:
        server = ActionServer(peer.node, AskAction, "/narrator/ask", answer)
        out = ask(peer, QUESTION).stdout
        server.destroy()
    assert out == "A red cube falls.\n"


def test_a_goal_without_a_reply_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamingvlm_ros.ros.client._REPLY_TIMEOUT_S", 0.5)
    ended = threading.Event()

    def never_accept(goal: Any) -> GoalResponse:
        ended.wait()
        return GoalResponse.REJECT

    with Peer() as peer:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(peer.domain))
        server = ActionServer(
            peer.node,
            AskAction,
            "/narrator/ask",
            lambda goal: AskAction.Result(),
            goal_callback=never_accept,
        )
        with connected("narrator", lambda: None) as client:
            with pytest.raises(StreamingVLMError, match="has not replied within"):
                client.ask({"question": QUESTION}, print)
            ended.set()
        server.destroy()


@pytest.mark.parametrize(
    ("texts", "printed"),
    [
        (["A red", " cube."], "A red cube.\n"),
        (["A red"], "A red cube.\n"),
        ([], "A red cube.\n"),
    ],
    ids=["all arrived", "the last is late", "none arrived"],
)
def test_the_complete_answer_is_printed_whatever_feedback_arrived(
    capsys: pytest.CaptureFixture[str], texts: list[str], printed: str
) -> None:
    with AnswerLine(Console().status("")) as line:
        for text in texts:
            line.add(text)
        line.complete("A red cube.")
    assert capsys.readouterr().out == printed
