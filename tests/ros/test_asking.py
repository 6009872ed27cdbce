"""Asking a narrator from other processes: answered, cancelled, killed, refused."""

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

from streamingvlm_ros.ros.conversions import to_ns

from .asking import Asked
from .babbler import TOKENS, babbler
from .peer import PATIENCE_S, Peer, reliable
from .test_lifecycle import change
from .test_narrator import S

MOST = 20
AHEAD = 16
"""Two batches: side by side are answered eight."""
KINDS = ["service", "action"]
LONG = {"question": "What is there?"}
MIDDLING = {"question": "What is there?", "max_tokens": 1000}
SHORT = {"question": "What is there?", "max_tokens": 12}


@pytest.fixture(scope="module")
def babbling(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("babbler")
    parameters = {**babbler(folder), **reliable("/image"), "max_questions": MOST}
    parameters["introspection"] = "contents"
    with peer.process("narrator", **parameters) as process:
        yield Asked(peer, process)


@pytest.fixture
def narrator(babbling: Asked) -> Asked:
    """It has seen something, whatever the test before did."""
    babbling.second()
    return babbling


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_at_once_are_answered_side_by_side(narrator: Asked, kind: str) -> None:
    with narrator.asker(kind, *[SHORT] * MOST) as asker:
        results = asker.results()
        assert [r["success"] for r in results] == [True] * MOST
        assert {r["answer"] for r in results} == {results[0]["answer"]}
        assert all(r["tokens"] == 12 and r["time_to_first_token"] > 0 for r in results)
        assert all(r["seen_until"] == narrator.now_s * S + S // 2 for r in results)
        if kind == "action":
            assert all(r["status"] == GoalStatus.STATUS_SUCCEEDED for r in results)
            assert all(r["answer"].startswith(asker.said(r["n"])) for r in results)
            # Their pieces come in turn, not one answer after the other.
            pieces = [e["n"] for e in asker.events.all() if e["event"] == "piece"]
            assert len(list(groupby(pieces))) > MOST
    narrator.wait_for_waiting(0)


def test_an_action_that_is_cancelled_half_way_ends_at_once_with_what_there_is(
    narrator: Asked,
) -> None:
    with narrator.asker("action", LONG, MIDDLING) as asker:
        asker.first("piece", 0)
        asker.cancel(0)
        result = asker.first("result", 0)
        assert result["status"] == GoalStatus.STATUS_CANCELED
        assert result["success"]
        assert "cancelled" in result["message"]
        assert 0 < result["tokens"] < TOKENS
        # Pieces and result travel apart: those that the result overtook are missing.
        assert asker.said(0)
        assert result["answer"].startswith(asker.said(0))
        assert result["seen_until"] == narrator.now_s * S + S // 2
        # The one beside it goes on.
        other = asker.first("result", 1)
        assert other["tokens"] == MIDDLING["max_tokens"]
        assert other["answer"].startswith(result["answer"])
    assert narrator.second().frames == 2


def test_what_waits_behind_a_long_answer_is_cancelled_or_times_out_without_it(
    narrator: Asked,
) -> None:
    with (
        narrator.ready("action", LONG, {**LONG, "timeout": 0.2}) as waiting,
        narrator.asker("action", *[LONG] * AHEAD) as long,
    ):
        long.first("piece")
        # Posted while answers are under way, these wait for their end.
        waiting.ask()
        late = waiting.first("result", 1)
        assert late["status"] == GoalStatus.STATUS_ABORTED
        assert not late["success"]
        assert late["message"] == "the time was up before the answer began"
        waiting.cancel(0)
        cancelled = waiting.first("result", 0)
        assert cancelled["status"] == GoalStatus.STATUS_CANCELED
        assert not cancelled["success"]
        assert len([e for e in long.events.all() if e["event"] == "result"]) < AHEAD
        for n in range(AHEAD):
            long.cancel(n)
        assert len(long.results()) == AHEAD
    narrator.wait_for_waiting(0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_is_killed_half_way_leaves_nothing_behind(narrator: Asked, kind: str) -> None:
    # Nobody cancels them: they end by themselves, but not before they are seen.
    with narrator.asker(kind, *[{**LONG, "timeout": 6.0}] * 3) as asker:
        narrator.wait_for_waiting(3)
        asker.kill()
    assert narrator.second().frames == 2
    narrator.wait_for_waiting(0)
    results = narrator.ask_at_once(kind, *[SHORT] * MOST)
    assert [r["success"] for r in results] == [True] * MOST


@pytest.mark.parametrize("kind", KINDS)
def test_one_too_many_is_refused_at_once_and_says_why(narrator: Asked, kind: str) -> None:
    # Services can't be cancelled: theirs end by themselves.
    requests = [{**LONG, "timeout": 10.0 * (kind == "service")}] * MOST
    with narrator.ready("action", SHORT) as late, narrator.asker(kind, *requests) as asker:
        narrator.wait_for_waiting(MOST)
        refused = narrator.ask("What is there?")
        assert not refused.success
        assert f"{MOST} questions" in refused.message
        assert "max_questions" in refused.message
        if kind == "action":
            late.ask()
            (refused_goal,) = late.results()
            assert refused_goal["status"] == GoalStatus.STATUS_ABORTED
            assert "max_questions" in refused_goal["message"]
            for n in range(MOST):
                asker.cancel(n)
        results = asker.results()
        assert len(results) == MOST
        if kind == "action":
            assert {r["status"] for r in results} == {GoalStatus.STATUS_CANCELED}
    assert narrator.ask("What is there?", max_tokens=3).success


@pytest.mark.parametrize("kind", KINDS)
def test_when_the_time_is_up_there_is_what_was_said_so_far(narrator: Asked, kind: str) -> None:
    (result,) = narrator.ask_at_once(kind, {**LONG, "timeout": 1.5})
    assert result["success"], result["message"]
    assert result["message"] == "cut off: the time was up"
    assert 0 < result["tokens"] < TOKENS
    assert result["answer"]
    assert result["seen_until"] == narrator.now_s * S + S // 2
    assert result.get("status", GoalStatus.STATUS_SUCCEEDED) == GoalStatus.STATUS_SUCCEEDED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mode": "dream"}, "stream, recent, history"),
        ({"camera": "rear"}, "one"),
        ({"timeout": -1.0}, "timeout"),
        ({"timeout": math.nan}, "timeout"),
        ({"mode": "recent", "remember": True}, "remembered"),
        ({"mode": "history"}, "history_folder"),
        ({"question": " "}, "empty"),
        ({"max_tokens": TOKENS + 1}, "max_answer_tokens"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    narrator: Asked, change: dict[str, Any], reason: str
) -> None:
    response = narrator.peer.call(Ask, "/narrator/ask", Ask.Request(**{**SHORT, **change}))
    assert not response.success
    assert reason in response.message


def test_an_answer_is_published_with_its_question(narrator: Asked) -> None:
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
    # Also one that was cut off, with why.
    with narrator.asker("action", LONG) as asker:
        asker.first("piece")
        asker.cancel(0)
        result = asker.first("result")
    cut = answers.wait(lambda a: a.question == LONG["question"], after=before + 1)
    assert (cut.answer, cut.message) == (result["answer"], result["message"])


def test_recent_frames_answer_without_the_stream(narrator: Asked) -> None:
    for _ in range(4):
        narrator.second()
    recent = {**SHORT, "mode": "recent"}
    (result,) = narrator.ask_at_once("service", recent)
    assert result["success"], result["message"]
    assert result["seen_from"] == (narrator.now_s - 1) * S
    assert result["seen_until"] == narrator.now_s * S + S // 2
    (of_the_stream,) = narrator.ask_at_once("service", SHORT)
    assert of_the_stream["answer"] != result["answer"]
    narrator.reset()
    (nothing,) = narrator.ask_at_once("service", recent)
    assert "nothing has been seen" in nothing["message"]


def test_an_answer_that_is_cut_off_is_not_remembered_and_says_so(narrator: Asked) -> None:
    (result,) = narrator.ask_at_once("service", {**SHORT, "remember": True})
    assert result["success"]
    assert "not remembered" in result["message"]


def test_introspection_shows_requests_and_responses(narrator: Asked) -> None:
    by_service, by_action = "/narrator/ask", "/narrator/ask/_action/send_goal"
    heard = {
        by_service: narrator.peer.subscribe(Ask.Event, f"{by_service}/_service_event"),
        by_action: narrator.peer.subscribe(
            AskAction.Impl.SendGoalService.Event, f"{by_action}/_service_event"
        ),
    }
    for name in heard:
        topic = f"{name}/_service_event"
        narrator.peer.until(lambda topic=topic: narrator.peer.node.count_publishers(topic))
    response = narrator.ask("Is this recorded?", max_tokens=3)
    request = heard[by_service].wait(lambda e: e.request)
    assert request.request[0].question == "Is this recorded?"
    assert heard[by_service].wait(lambda e: e.response).response[0].answer == response.answer
    narrator.ask_at_once("action", {"question": "And this?", "max_tokens": 3})
    heard[by_action].wait(lambda e: e.request and e.request[0].goal.question == "And this?")


def test_deactivating_ends_every_question_and_asking_goes_on_after_it(narrator: Asked) -> None:
    with narrator.asker("action", *[LONG] * 10) as asker:
        narrator.wait_for_waiting(10)
        assert change(narrator.peer, Transition.TRANSITION_DEACTIVATE)
        results = asker.results()
        assert all("deactivated" in r["message"] for r in results)
        assert results[0]["success"]
    for result in [narrator.ask_at_once(kind, SHORT)[0] for kind in KINDS]:
        assert not result["success"]
        assert "not active" in result["message"]
    assert change(narrator.peer, Transition.TRANSITION_ACTIVATE)
    narrator.wait_until_watched()
    narrator.second()
    assert narrator.ask("What is there?", max_tokens=3).success


def test_ctrl_c_waits_for_no_answer(tmp_path: Path) -> None:
    parameters = {**babbler(tmp_path), **reliable("/image")}
    with Peer() as peer, peer.process("narrator", **parameters) as process:
        narrator = Asked(peer, process)
        narrator.second()
        answers = narrator.answers()
        with narrator.asker("action", *[LONG] * 10) as asker:
            asker.first("accepted")
            narrator.wait_for_waiting(10)
            asker.first("piece")  # what has not begun has no answer that could be cut
            process.child.send_signal(signal.SIGINT)
            cut = answers.wait(lambda a: a.question == LONG["question"])
            assert cut.message == "cut off: the narrator is shutting down"
            assert process.child.wait(PATIENCE_S) == 0


def test_a_question_does_not_wait_for_the_end_of_a_narration(tmp_path: Path) -> None:
    parameters = {**babbler(tmp_path), **reliable("/image"), "max_new_tokens": 256}
    with Peer() as peer, peer.process("narrator", **parameters) as process:
        narrator = Asked(peer, process)
        narrator.second()
        client = peer.node.create_client(Ask, "/narrator/ask")
        assert client.wait_for_service(PATIENCE_S)
        narrator.now_s += 1
        first_ns, newest_ns = narrator.now_s * S, narrator.now_s * S + S // 2
        narrator.publish(first_ns)
        narrator.publish(newest_ns)
        seen_ns = 0
        while seen_ns < newest_ns:  # until then, the round had not begun
            future = client.call_async(Ask.Request(question="What is there?", max_tokens=1))
            peer.until(future.done)
            seen_ns = to_ns(future.result().seen_until)
        assert len(narrator.narrations) == 1
        narrator.narrations.wait(after=1)
