"""A narrator in a process of its own, over real ROS 2."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator

import pytest
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters
from streamingvlm_ros.srv import Ask

from streamingvlm_ros.ros.qos import REQUESTS
from streamingvlm_ros.types import NS_PER_S as S
from streamingvlm_ros.types import to_ns

from ..narrator_client import NarratorClient
from ..node_process import PATIENCE_S
from ..ros_peer import TINY, Peer, reliable


@pytest.fixture(scope="module")
def client(peer: Peer) -> Iterator[NarratorClient]:
    # Small images stay small; a large one keeps the model busy for seconds.
    large = {"max_frame_tokens": 8100, "vision_rounds": 2}
    parameters = {**TINY, **large, **reliable("/image"), "max_new_tokens": 6}
    parameters["max_questions"] = 40
    with peer.process("narrator", **parameters) as process:
        yield NarratorClient(peer, process)


def set_parameter(client: NarratorClient, name: str, *, value: ParameterValue) -> object:
    request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
    return client.peer.call(SetParameters, "/narrator/set_parameters", request).results[0]


def double(value: float) -> ParameterValue:
    return ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)


def test_a_question_before_the_first_frame_is_refused(client: NarratorClient) -> None:
    response = client.ask("What is there?")
    assert not response.success
    assert "nothing has been seen" in response.message


def test_two_images_become_a_narration_with_their_stamps(client: NarratorClient) -> None:
    narration = client.second()
    assert (to_ns(narration.start), to_ns(narration.end)) == (1001 * S, 1002 * S)
    assert to_ns(narration.header.stamp) == 1001 * S + S // 2
    assert narration.header.frame_id == "camera_optical"
    assert (narration.sequence, narration.frames, narration.dropped) == (0, 2, 0)
    assert narration.silent == (not narration.text)
    # The stamps are half a century old: latency is against the node's clock.
    assert narration.latency > 1e9
    assert client.texts.wait().data == narration.text
    assert client.second().sequence == 1


def test_an_answer_names_the_frames_that_it_is_based_on(client: NarratorClient) -> None:
    client.reset()
    client.second()
    client.second()
    response = client.ask("What is there?", max_tokens=3)
    assert response.success, response.message
    assert ("max_tokens: 3" in response.message) == (response.tokens == 3)
    assert 1 <= response.tokens <= 3
    assert to_ns(response.seen_from) == (client.now_s - 1) * S
    assert to_ns(response.seen_until) == client.now_s * S + S // 2


@pytest.mark.parametrize(
    ("question", "reason"), [("why " * 10_000, "more than 256"), ("   ", "empty")]
)
def test_a_long_or_empty_question_is_refused(
    client: NarratorClient, question: str, reason: str
) -> None:
    client.second()
    response = client.ask(question)
    assert not response.success
    assert reason in response.message
    assert client.second().frames == 2


def test_images_are_handled_while_a_question_waits_for_the_model(client: NarratorClient) -> None:
    client.second()
    client.now_s += 1
    side = 2500
    grey = array("B", bytes(side * side))
    large = {"encoding": "mono8", "height": side, "width": side, "step": side, "data": grey}
    newest_ns = client.now_s * S + S // 2
    client.publish(client.now_s * S, newest_ns, **large)
    publish_until_logged(client, "sixteen colours", **BAD["encoding"])
    ask = client.peer.node.create_client(Ask, "/narrator/ask")
    assert ask.wait_for_service(PATIENCE_S)
    answer = ask.call_async(Ask.Request(question="What is there?", max_tokens=3))
    client.peer.wait_for_status(lambda v: v.get("questions waiting") == "1")
    client.now_s -= 100
    publish_until_logged(client, "jumped back")
    assert not answer.done()
    client.peer.until(answer.done)
    assert answer.result().success
    # On a busy machine the second image may come too late for its chunk.
    assert to_ns(answer.result().seen_until) in (newest_ns - S // 2, newest_ns)
    assert client.second().frames == 2


def publish_until_logged(client: NarratorClient, words: str, **changes: object) -> None:
    """Publish an image, and wait until `words` are logged because of it."""
    count = client.process.log().count(words)
    client.publish(client.now_s * S, **changes)
    client.peer.until(lambda: client.process.log().count(words) > count)


def test_forty_simultaneous_questions_are_all_answered(client: NarratorClient) -> None:
    client.second()
    # This side's queue must hold forty replies, too. One question first, so that both sides have
    # discovered each other.
    ask = client.peer.node.create_client(Ask, "/narrator/ask", qos_profile=REQUESTS)
    assert ask.wait_for_service(PATIENCE_S)
    first = ask.call_async(Ask.Request(question="?", max_tokens=1))
    client.peer.until(first.done)
    futures = [ask.call_async(Ask.Request(question="?", max_tokens=1)) for _ in range(40)]
    client.peer.until(lambda: all(future.done() for future in futures))
    assert all(future.result().success for future in futures)
    client.peer.node.destroy_client(ask)


def test_a_remembered_question_changes_the_next_narration(client: NarratorClient) -> None:
    client.second()
    answers = client.answers()
    assert set_parameter(client, "temperature", value=double(0.0)).successful

    def next_narration(question: str, *, remember: bool) -> str:
        """Return the narration after a question; the answer must be complete."""
        client.reset()
        client.second()
        request = Ask.Request(question=question, remember=remember)
        response = client.peer.call(Ask, "/narrator/ask", request)
        assert response.success, response.message
        assert response.message == ""
        return str(client.second().text)

    client.reset()
    client.second()
    complete = next(q for q in "abcdefghijklmnopqrstuvwxyz" if not client.ask(q).message)
    forgotten = next_narration(complete, remember=False)
    assert next_narration(complete, remember=False) == forgotten
    assert next_narration(complete, remember=True) != next_narration(complete, remember=False)
    remembered = answers.wait(lambda a: a.remembered)
    assert remembered.question == complete
    after = answers.all().index(remembered)
    answers.wait(after=after + 1)
    assert [a.remembered for a in answers.all(after)] == [True, False]


def test_a_reset_restarts_the_stream(client: NarratorClient) -> None:
    client.second()
    client.reset()
    assert not client.ask("What is there?").success
    assert client.second().sequence == 0


def test_stamps_that_jump_back_reset_the_stream_and_are_logged(client: NarratorClient) -> None:
    before = client.count("jumps back in time")
    client.second()
    client.now_s -= 500
    assert client.second().sequence == 0
    assert "jumped back" in client.process.log()
    client.wait_for_count("jumps back in time", before + 1)


def test_a_late_image_is_dropped_and_counted(client: NarratorClient) -> None:
    late = client.count("frames late")
    client.second()
    client.publish(client.now_s * S + S // 4)
    assert client.second().sequence > 0
    client.wait_for_count("frames late", late + 1)


def test_a_chunk_is_narrated_if_the_camera_stops_within_it(client: NarratorClient) -> None:
    client.second()
    count = len(client.narrations)
    client.now_s += 1
    client.publish(client.now_s * S)
    assert client.narrations.wait(after=count).frames == 1


def test_a_slow_narrator_drops_old_frames_and_counts_them(client: NarratorClient) -> None:
    client.reset()
    before, count = client.count("frames dropped"), len(client.narrations)
    first, last = client.now_s + 1, client.now_s + 40
    halves = range(2 * first, 2 * last + 2)
    client.publish(*(half * S // 2 for half in halves))
    client.now_s = last
    client.narrations.wait(lambda m: m.start.sec == last, count)
    narrations = client.narrations.all(count)
    assert len(narrations) < 40
    assert sum(m.frames + m.dropped for m in narrations) == 80
    assert [m.start.sec for m in narrations] == sorted({m.start.sec for m in narrations})
    dropped = sum(m.dropped for m in narrations)
    assert dropped > 0
    client.wait_for_count("frames dropped", before + dropped)


BAD = {
    "encoding": {"encoding": "sixteen colours"},
    "depth": {"encoding": "32FC1", "step": 224},
    "zero": {"height": 0, "width": 0, "step": 0, "data": array("B")},
    "step": {"step": 20},
    "short": {"data": array("B", b"\x00" * 100)},
}
REASON = {"depth": "encoding", "zero": "size", "short": "size"}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_logged_and_counted_and_narration_continues(
    client: NarratorClient, kind: str
) -> None:
    count = f"frames bad: {REASON.get(kind, kind)}"
    before, logged = client.count(count), client.process.log().count("[ERROR]")
    start_s = time.monotonic()
    client.publish(*(client.now_s * S + S // 2 + i for i in range(20)), **BAD[kind])
    assert client.second().frames == 2
    took_s = time.monotonic() - start_s
    assert 1 <= client.process.log().count("[ERROR]") - logged <= 1 + took_s
    client.wait_for_count(count, before + 20)


def test_an_image_without_a_stamp_is_counted_as_such(client: NarratorClient) -> None:
    before = client.count("frames bad: stamp")
    client.publish(0)
    assert client.second().frames == 2
    client.wait_for_count("frames bad: stamp", before + 1)


def test_sampling_parameters_can_be_changed_live(client: NarratorClient) -> None:
    def narration(temperature: float) -> str:
        assert set_parameter(client, "temperature", value=double(temperature)).successful
        client.reset()
        return str(client.second().text)

    hot, greedy = narration(5.0), narration(0.0)
    assert hot != greedy
    assert narration(5.0) == hot
    assert narration(0.0) == greedy


def test_read_only_parameters_and_values_out_of_range_are_refused(client: NarratorClient) -> None:
    result = set_parameter(client, "temperature", value=double(9.0))
    assert not result.successful
    assert "5" in result.reason
    result = set_parameter(client, "fps", value=double(4.0))
    assert not result.successful
    assert "read-only" in result.reason
    request = DescribeParameters.Request(names=["temperature", "fps", "model", "instruction"])
    described = client.peer.call(DescribeParameters, "/narrator/describe_parameters", request)
    assert [d.read_only for d in described.descriptors] == [False, True, True, True]
    assert all(d.description for d in described.descriptors)


def test_the_diagnostics_describe_the_active_narrator(client: NarratorClient) -> None:
    client.second()
    status = client.peer.next_status()
    assert status["state"] == "active"
    assert status["model"] == TINY["model"]
    assert status["topic"] == "/image"
    assert int(status["rounds"]) > 0
    assert int(status["frames received"]) >= int(status["frames sampled"]) > 0
    assert status["failures"] == "0"
    assert float(status["latency (s)"]) > 0
