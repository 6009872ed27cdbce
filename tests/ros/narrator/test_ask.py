"""Questions from other processes: answered, cancelled, timed out, refused; killed clients."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from streamingvlm_ros.action import Ask as AskAction
from streamingvlm_ros.srv import Ask

from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import to_ns

from ..narrator_client import change_state
from ..node_process import PATIENCE_S
from ..question_client import QuestionClient
from ..ros_peer import Peer, reliable
from ..verbose_model import TOKENS, verbose_model

MAX_QUESTIONS = 20
AHEAD = 16
"""Two batches: eight questions are answered side by side."""
KINDS = ["service", "action"]
LONG = {"question": "What is there?"}
MEDIUM = {"question": "What is there?", "max_tokens": 1000}
SHORT = {"question": "What is there?", "max_tokens": 12}


@pytest.fixture(scope="module")
def talkative(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuestionClient]:
    folder = tmp_path_factory.mktemp("model")
    parameters = {**verbose_model(folder), **reliable("/image"), "max_questions": MAX_QUESTIONS}
    parameters["introspection"] = "contents"
    with peer.process("narrator", **parameters) as process:
        yield QuestionClient(peer, process)


@pytest.fixture
def narrator(talkative: QuestionClient) -> QuestionClient:
    """A narrator that has seen something, whatever the previous test did."""
    talkative.second()
    return talkative


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_simultaneous_questions_are_answered_side_by_side(
    narrator: QuestionClient, kind: str
) -> None:
    with narrator.asking(kind, *[SHORT] * MAX_QUESTIONS) as process:
        results = process.results()
        assert [r["success"] for r in results] == [True] * MAX_QUESTIONS
        assert {r["answer"] for r in results} == {results[0]["answer"]}
        assert all(r["tokens"] == 12 and r["time_to_first_token"] > 0 for r in results)
        assert all(r["seen_until"] == narrator.now_s * S + S // 2 for r in results)
        if kind == "action":
            assert all(r["status"] == GoalStatus.STATUS_SUCCEEDED for r in results)
            assert all(r["answer"].startswith(process.text(r["n"])) for r in results)
            # Their texts alternate, instead of one answer after the other.
            texts = [e["n"] for e in process.events.all() if e["event"] == "text"]
            assert len(list(groupby(texts))) > MAX_QUESTIONS
    narrator.wait_for_pending(0)


def test_a_cancelled_action_ends_at_once_with_the_answer_so_far(
    narrator: QuestionClient,
) -> None:
    with narrator.asking("action", LONG, MEDIUM) as process:
        process.first("text", 0)
        process.cancel(0)
        result = process.first("result", 0)
        assert result["status"] == GoalStatus.STATUS_CANCELED
        assert result["success"]
        assert "cancelled" in result["message"]
        assert 0 < result["tokens"] < TOKENS
        # Feedback and result travel separately: texts that the result overtook are missing.
        assert process.text(0)
        assert result["answer"].startswith(process.text(0))
        assert result["seen_until"] == narrator.now_s * S + S // 2
        # The other question continues.
        other = process.first("result", 1)
        assert other["tokens"] == MEDIUM["max_tokens"]
        assert other["answer"].startswith(result["answer"])
    assert narrator.second().frames == 2


def test_a_question_behind_long_answers_can_be_cancelled_or_time_out(
    narrator: QuestionClient,
) -> None:
    with (
        narrator.ready("action", LONG, {**LONG, "timeout": 0.2}) as waiting,
        narrator.asking("action", *[LONG] * AHEAD) as long,
    ):
        long.first("text")
        # Sent while answers are in progress, these wait for them.
        waiting.ask()
        late = waiting.first("result", 1)
        assert late["status"] == GoalStatus.STATUS_ABORTED
        assert not late["success"]
        assert late["message"] == "timeout before the first token"
        waiting.cancel(0)
        cancelled = waiting.first("result", 0)
        assert cancelled["status"] == GoalStatus.STATUS_CANCELED
        assert not cancelled["success"]
        assert len([e for e in long.events.all() if e["event"] == "result"]) < AHEAD
        for n in range(AHEAD):
            long.cancel(n)
        assert len(long.results()) == AHEAD
    narrator.wait_for_pending(0)


@pytest.mark.parametrize("kind", KINDS)
def test_questions_of_a_killed_client_end_and_others_are_answered(
    narrator: QuestionClient, kind: str
) -> None:
    # Nobody cancels them: they end by their timeout, which the diagnostics precede.
    with narrator.asking(kind, *[{**LONG, "timeout": 6.0}] * 3) as process:
        narrator.wait_for_pending(3)
        process.kill()
    assert narrator.second().frames == 2
    narrator.wait_for_pending(0)
    results = narrator.ask_at_once(kind, *[SHORT] * MAX_QUESTIONS)
    assert [r["success"] for r in results] == [True] * MAX_QUESTIONS


@pytest.mark.parametrize("kind", KINDS)
def test_a_question_beyond_max_questions_is_refused_with_the_reason(
    narrator: QuestionClient, kind: str
) -> None:
    # Service calls can't be cancelled: they end by their timeout.
    requests = [{**LONG, "timeout": 10.0 * (kind == "service")}] * MAX_QUESTIONS
    with narrator.ready("action", SHORT) as late, narrator.asking(kind, *requests) as process:
        narrator.wait_for_pending(MAX_QUESTIONS)
        refused = narrator.ask("What is there?")
        assert not refused.success
        assert f"{MAX_QUESTIONS} questions" in refused.message
        assert "max_questions" in refused.message
        if kind == "action":
            late.ask()
            (refused_goal,) = late.results()
            assert refused_goal["status"] == GoalStatus.STATUS_ABORTED
            assert "max_questions" in refused_goal["message"]
            for n in range(MAX_QUESTIONS):
                process.cancel(n)
        results = process.results()
        assert len(results) == MAX_QUESTIONS
        if kind == "action":
            assert {r["status"] for r in results} == {GoalStatus.STATUS_CANCELED}
    assert narrator.ask("What is there?", max_tokens=3).success


@pytest.mark.parametrize("kind", KINDS)
def test_after_the_timeout_the_answer_so_far_is_returned(
    narrator: QuestionClient, kind: str
) -> None:
    for timeout_s in (1.5, 6.0, 24.0):  # a busy machine needs longer to the first token
        (result,) = narrator.ask_at_once(kind, {**LONG, "timeout": timeout_s})
        if result["success"]:
            break
    assert result["success"], result["message"]
    assert result["message"] == "truncated: timeout"
    assert 0 < result["tokens"] < TOKENS
    assert result["answer"]
    assert result["seen_until"] == narrator.now_s * S + S // 2
    assert result.get("status", GoalStatus.STATUS_SUCCEEDED) == GoalStatus.STATUS_SUCCEEDED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mode": "dream"}, "stream, recent or history"),
        ({"camera": "rear"}, "one camera"),
        ({"timeout": -1.0}, "timeout"),
        ({"timeout": math.nan}, "timeout"),
        ({"mode": "recent", "remember": True}, "remembered"),
        ({"mode": "history"}, "history_folder"),
        ({"question": " "}, "empty"),
        ({"max_tokens": TOKENS + 1}, "max_answer_tokens"),
    ],
)
def test_an_invalid_request_is_refused(
    narrator: QuestionClient, change: dict[str, Any], reason: str
) -> None:
    response = narrator.peer.call(Ask, "/narrator/ask", Ask.Request(**{**SHORT, **change}))
    assert not response.success
    assert reason in response.message


def test_an_answer_is_published_with_its_question(narrator: QuestionClient) -> None:
    answers = narrator.answers()
    before = len(answers)
    response = narrator.ask("What is there?", max_tokens=3)
    answer = answers.wait(after=before)
    assert answer.question == "What is there?"
    assert answer.answer == response.answer
    assert (answer.mode, answer.remembered, answer.tokens) == ("stream", False, 3)
    assert (answer.seen_from, answer.seen_until) == (response.seen_from, response.seen_until)
    assert answer.header.frame_id == "camera_optical"
    assert to_ns(answer.header.stamp) > 1e18
    # A truncated answer, too, with the reason.
    with narrator.asking("action", LONG) as process:
        process.first("text")
        process.cancel(0)
        result = process.first("result")
    truncated = answers.wait(lambda a: a.question == LONG["question"], after=before + 1)
    assert (truncated.answer, truncated.message) == (result["answer"], result["message"])


def test_mode_recent_answers_from_the_newest_frames_alone(narrator: QuestionClient) -> None:
    for _ in range(4):
        narrator.second()
    recent = {**SHORT, "mode": "recent"}
    (result,) = narrator.ask_at_once("service", recent)
    assert result["success"], result["message"]
    assert result["seen_from"] == (narrator.now_s - 1) * S
    assert result["seen_until"] == narrator.now_s * S + S // 2
    (from_stream,) = narrator.ask_at_once("service", SHORT)
    assert from_stream["answer"] != result["answer"]
    narrator.reset()
    (nothing,) = narrator.ask_at_once("service", recent)
    assert "nothing has been seen" in nothing["message"]


def test_a_truncated_answer_is_not_remembered_and_says_so(narrator: QuestionClient) -> None:
    (result,) = narrator.ask_at_once("service", {**SHORT, "remember": True})
    assert result["success"]
    assert "not remembered" in result["message"]


def test_introspection_publishes_requests_and_responses(narrator: QuestionClient) -> None:
    by_service, by_action = "/narrator/ask", "/narrator/ask/_action/send_goal"
    events = {
        by_service: narrator.peer.subscribe(Ask.Event, f"{by_service}/_service_event"),
        by_action: narrator.peer.subscribe(
            AskAction.Impl.SendGoalService.Event, f"{by_action}/_service_event"
        ),
    }
    for name in events:
        topic = f"{name}/_service_event"
        narrator.peer.until(lambda topic=topic: narrator.peer.node.count_publishers(topic))
    response = narrator.ask("Is this recorded?", max_tokens=3)
    request = events[by_service].wait(lambda e: e.request)
    assert request.request[0].question == "Is this recorded?"
    assert events[by_service].wait(lambda e: e.response).response[0].answer == response.answer
    narrator.ask_at_once("action", {"question": "And this?", "max_tokens": 3})
    events[by_action].wait(lambda e: e.request and e.request[0].goal.question == "And this?")


def test_deactivating_ends_all_questions_and_activating_takes_new_ones(
    narrator: QuestionClient,
) -> None:
    with narrator.asking("action", *[LONG] * 10) as process:
        narrator.wait_for_pending(10)
        assert change_state(narrator.peer, Transition.TRANSITION_DEACTIVATE)
        results = process.results()
        assert all("deactivated" in r["message"] for r in results)
        assert results[0]["success"]
    for result in [narrator.ask_at_once(kind, SHORT)[0] for kind in KINDS]:
        assert not result["success"]
        assert "not active" in result["message"]
    assert change_state(narrator.peer, Transition.TRANSITION_ACTIVATE)
    narrator.wait_for_subscriber()
    narrator.second()
    assert narrator.ask("What is there?", max_tokens=3).success


def test_ctrl_c_ends_all_questions_with_the_answer_so_far(tmp_path: Path) -> None:
    parameters = {**verbose_model(tmp_path), **reliable("/image")}
    with Peer() as peer, peer.process("narrator", **parameters) as node:
        narrator = QuestionClient(peer, node)
        narrator.second()
        answers = narrator.answers()
        with narrator.asking("action", *[LONG] * 10) as process:
            process.first("accepted")
            narrator.wait_for_pending(10)
            process.first("text")  # an answer without a token would not be published
            node.child.send_signal(signal.SIGINT)
            truncated = answers.wait(lambda a: a.question == LONG["question"])
            assert truncated.message == "truncated: the narrator is shutting down"
            assert node.child.wait(PATIENCE_S) == 0


def test_a_question_is_answered_during_a_narration(tmp_path: Path) -> None:
    parameters = {**verbose_model(tmp_path), **reliable("/image"), "max_new_tokens": 256}
    with Peer() as peer, peer.process("narrator", **parameters) as process:
        narrator = QuestionClient(peer, process)
        narrator.second()
        client = peer.node.create_client(Ask, "/narrator/ask")
        assert client.wait_for_service(PATIENCE_S)
        narrator.now_s += 1
        first_ns, newest_ns = narrator.now_s * S, narrator.now_s * S + S // 2
        narrator.publish(first_ns)
        narrator.publish(newest_ns)
        seen_ns = 0
        while seen_ns < newest_ns:  # until then, the round has not started
            future = client.call_async(Ask.Request(question="What is there?", max_tokens=1))
            peer.until(future.done)
            seen_ns = to_ns(future.result().seen_until)
        assert len(narrator.narrations) == 1
        narrator.narrations.wait(after=1)
