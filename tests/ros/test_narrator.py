"""A narrator in a process of its own, over real ROS 2."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator

import numpy as np
import pytest
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger
from streamingvlm_ros.msg import Answer, Narration
from streamingvlm_ros.srv import Ask

from streamingvlm_ros.ros.conversions import to_message, to_ns
from streamingvlm_ros.ros.qos import REQUESTS

from .peer import PATIENCE_S, TINY, Peer, Process, Topic, reliable

S = 1_000_000_000
PICTURE = np.random.default_rng(0).integers(0, 255, (56, 56, 3), np.uint8)


class Camera:
    """Publishes whole seconds of sensor time, as fast as it is told to."""

    def __init__(self, peer: Peer, process: Process) -> None:
        self.peer, self.process = peer, process
        self.narrations = peer.subscribe(Narration, "/narrator/narration")
        self.texts = peer.subscribe(String, "/narrator/text")
        self._publisher = peer.publisher(Image, "/image")
        peer.until(lambda: peer.node.count_publishers("/narrator/narration"))
        # It subscribes shortly before it is active.
        peer.wait_for_status(lambda v: v["state"] == "active")
        self.now_s = 1000

    def publish(self, *stamps_ns: int, **changes: object) -> None:
        """Images, one right after the other: a chunk whose next frame is late is closed."""
        messages = [to_message(PICTURE, stamp_ns, "camera_optical") for stamp_ns in stamps_ns]
        for message in messages:
            for name, value in changes.items():
                setattr(message, name, value)
        for message in messages:
            self._publisher.publish(message)

    def second(self) -> Narration:
        """Publish the next second's two frames; what is said about it."""
        heard, self.now_s = len(self.narrations), self.now_s + 1
        self.publish(self.now_s * S, self.now_s * S + S // 2)
        return self.narrations.wait(lambda m: m.start.sec == self.now_s, heard)

    def wait_until_watched(self) -> None:
        """Until somebody subscribes the images, for instance again."""
        self.peer.until(self._publisher.get_subscription_count)

    def count(self, name: str) -> int:
        """A count as the next diagnostics have it."""
        status = self.peer.wait_for_status(bool, after=len(self.peer.diagnostics))
        return int(status.get(name, "0"))

    def wait_for_count(self, name: str, number: int) -> None:
        """Wait until the diagnostics count exactly that."""
        self.peer.wait_for_status(lambda v: v.get(name) == str(number))

    def ask(self, question: str, max_tokens: int = 0) -> Ask.Response:
        return self.peer.call(
            Ask, "/narrator/ask", Ask.Request(question=question, max_tokens=max_tokens)
        )

    def answers(self) -> Topic:
        """What is answered, heard from now on: it asks until the narrator has found who listens.

        The last of those answers is there when this returns; something must have been seen.
        """
        answers = self.peer.subscribe(Answer, "/narrator/answer")
        questions: list[str] = []

        def is_heard() -> bool:
            questions.append(f"{len(questions)}")
            assert self.ask(questions[-1], max_tokens=1).success
            return len(answers) > 0

        self.peer.until(is_heard)
        answers.wait(lambda a: a.question == questions[-1])
        return answers

    def reset(self) -> None:
        assert self.peer.call(Trigger, "/narrator/reset", Trigger.Request()).success


@pytest.fixture(scope="module")
def camera(peer: Peer) -> Iterator[Camera]:
    # Small pictures stay small; a large one keeps the model busy for seconds.
    large = {"max_frame_tokens": 8100, "vision_rounds": 2}
    parameters = {**TINY, **large, **reliable("/image"), "max_new_tokens": 6}
    parameters["max_questions"] = 40
    with peer.process("narrator", **parameters) as process:
        yield Camera(peer, process)


def set_parameter(camera: Camera, name: str, value: ParameterValue) -> object:
    request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
    return camera.peer.call(SetParameters, "/narrator/set_parameters", request).results[0]


def double(value: float) -> ParameterValue:
    return ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)


def test_asked_before_anything_was_seen_it_says_so(camera: Camera) -> None:
    response = camera.ask("What is there?")
    assert not response.success
    assert "nothing has been seen" in response.message


def test_a_second_of_images_becomes_a_narration_with_their_stamps(camera: Camera) -> None:
    narration = camera.second()
    assert (to_ns(narration.start), to_ns(narration.end)) == (1001 * S, 1002 * S)
    assert to_ns(narration.header.stamp) == 1001 * S + S // 2
    assert narration.header.frame_id == "camera_optical"
    assert (narration.sequence, narration.frames, narration.dropped) == (0, 2, 0)
    assert narration.silent == (not narration.text)
    # The stamps are half a century old: latency is against the node's clock.
    assert narration.latency > 1e9
    assert camera.texts.wait().data == narration.text
    assert camera.second().sequence == 1


def test_a_question_is_answered_with_what_it_rests_on(camera: Camera) -> None:
    camera.reset()
    camera.second()
    camera.second()
    response = camera.ask("What is there?", max_tokens=3)
    assert response.success, response.message
    assert ("max_tokens: 3" in response.message) == (response.tokens == 3)
    assert 1 <= response.tokens <= 3
    assert to_ns(response.seen_from) == (camera.now_s - 1) * S
    assert to_ns(response.seen_until) == camera.now_s * S + S // 2


@pytest.mark.parametrize(
    ("question", "reason"), [("why " * 10_000, "more than 256"), ("   ", "empty")]
)
def test_a_question_that_cannot_be_taken_is_refused(
    camera: Camera, question: str, reason: str
) -> None:
    camera.second()
    response = camera.ask(question)
    assert not response.success
    assert reason in response.message
    assert camera.second().frames == 2


def test_whoever_waits_for_the_model_keeps_no_image_waiting(camera: Camera) -> None:
    camera.second()
    camera.now_s += 1
    side = 2500
    grey = array("B", bytes(side * side))
    large = {"encoding": "mono8", "height": side, "width": side, "step": side, "data": grey}
    newest_ns = camera.now_s * S + S // 2
    camera.publish(camera.now_s * S, newest_ns, **large)
    wait_until_told(camera, "sixteen colours", **BAD["encoding"])
    client = camera.peer.node.create_client(Ask, "/narrator/ask")
    assert client.wait_for_service(PATIENCE_S)
    answer = client.call_async(Ask.Request(question="What is there?", max_tokens=3))
    camera.peer.wait_for_status(lambda v: v.get("questions waiting") == "1")
    camera.now_s -= 100
    wait_until_told(camera, "jumped back")
    assert not answer.done()
    camera.peer.until(answer.done)
    assert answer.result().success
    # On a busy machine the second image may come too late for its chunk.
    assert to_ns(answer.result().seen_until) in (newest_ns - S // 2, newest_ns)
    assert camera.second().frames == 2


def wait_until_told(camera: Camera, words: str, **changes: object) -> None:
    """Publish an image that is logged with these words at once."""
    told = camera.process.log().count(words)
    camera.publish(camera.now_s * S, **changes)
    camera.peer.until(lambda: camera.process.log().count(words) > told)


def test_forty_questions_at_once_are_all_answered(camera: Camera) -> None:
    camera.second()
    # The asker's own queue must hold forty answers too; and one question first, so that both
    # sides have found each other.
    client = camera.peer.node.create_client(Ask, "/narrator/ask", qos_profile=REQUESTS)
    assert client.wait_for_service(PATIENCE_S)
    first = client.call_async(Ask.Request(question="?", max_tokens=1))
    camera.peer.until(first.done)
    futures = [client.call_async(Ask.Request(question="?", max_tokens=1)) for _ in range(40)]
    camera.peer.until(lambda: all(future.done() for future in futures))
    assert all(future.result().success for future in futures)
    camera.peer.node.destroy_client(client)


def test_what_is_remembered_becomes_part_of_the_stream(camera: Camera) -> None:
    camera.second()
    answers = camera.answers()
    assert set_parameter(camera, "temperature", double(0.0)).successful

    def said(question: str, remember: bool) -> str:
        """What is narrated after a question; the answer must be whole."""
        camera.reset()
        camera.second()
        request = Ask.Request(question=question, remember=remember)
        response = camera.peer.call(Ask, "/narrator/ask", request)
        assert response.success, response.message
        assert response.message == ""
        return str(camera.second().text)

    camera.reset()
    camera.second()
    whole = next(q for q in "abcdefghijklmnopqrstuvwxyz" if not camera.ask(q).message)
    assert said(whole, remember=False) == said(whole, remember=False)
    assert said(whole, remember=True) != said(whole, remember=False)
    remembered = answers.wait(lambda a: a.remembered)
    assert remembered.question == whole
    after = answers.all().index(remembered)
    answers.wait(after=after + 1)
    assert [a.remembered for a in answers.all(after)] == [True, False]


def test_a_reset_begins_anew(camera: Camera) -> None:
    camera.second()
    camera.reset()
    assert not camera.ask("What is there?").success
    assert camera.second().sequence == 0


def test_a_clock_set_back_begins_anew_and_is_said(camera: Camera) -> None:
    before = camera.count("jumps back in time")
    camera.second()
    camera.now_s -= 500
    assert camera.second().sequence == 0
    assert "jumped back" in camera.process.log()
    camera.wait_for_count("jumps back in time", before + 1)


def test_a_stamp_slightly_back_is_left_out_and_counted(camera: Camera) -> None:
    late = camera.count("frames late")
    camera.second()
    camera.publish(camera.now_s * S + S // 4)
    assert camera.second().sequence > 0
    camera.wait_for_count("frames late", late + 1)


def test_a_camera_that_stops_within_a_chunk_is_not_waited_for(camera: Camera) -> None:
    camera.second()
    heard = len(camera.narrations)
    camera.now_s += 1
    camera.publish(camera.now_s * S)
    assert camera.narrations.wait(after=heard).frames == 1


def test_falling_behind_skips_to_the_newest_and_counts(camera: Camera) -> None:
    camera.reset()
    before, heard = camera.count("frames dropped"), len(camera.narrations)
    first, last = camera.now_s + 1, camera.now_s + 40
    halves = range(2 * first, 2 * last + 2)
    camera.publish(*(half * S // 2 for half in halves))
    camera.now_s = last
    camera.narrations.wait(lambda m: m.start.sec == last, heard)
    said = camera.narrations.all(heard)
    assert len(said) < 40
    assert sum(m.frames + m.dropped for m in said) == 80
    assert [m.start.sec for m in said] == sorted({m.start.sec for m in said})
    dropped = sum(m.dropped for m in said)
    assert dropped > 0
    camera.wait_for_count("frames dropped", before + dropped)


BAD = {
    "encoding": {"encoding": "sixteen colours"},
    "depth": {"encoding": "32FC1", "step": 224},
    "zero": {"height": 0, "width": 0, "step": 0, "data": array("B")},
    "step": {"step": 20},
    "short": {"data": array("B", b"\x00" * 100)},
}
REASON = {"depth": "encoding", "zero": "size", "short": "size"}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_logged_and_counted_and_the_node_goes_on(camera: Camera, kind: str) -> None:
    count = f"frames bad: {REASON.get(kind, kind)}"
    before, logged = camera.count(count), camera.process.log().count("[ERROR]")
    start_s = time.monotonic()
    camera.publish(*(camera.now_s * S + S // 2 + i for i in range(20)), **BAD[kind])
    assert camera.second().frames == 2
    took_s = time.monotonic() - start_s
    assert 1 <= camera.process.log().count("[ERROR]") - logged <= 1 + took_s
    camera.wait_for_count(count, before + 20)


def test_an_image_without_a_stamp_is_named_as_such(camera: Camera) -> None:
    before = camera.count("frames bad: stamp")
    camera.publish(0)
    assert camera.second().frames == 2
    camera.wait_for_count("frames bad: stamp", before + 1)


def test_sampling_can_be_changed_live(camera: Camera) -> None:
    def said(temperature: float) -> str:
        assert set_parameter(camera, "temperature", double(temperature)).successful
        camera.reset()
        return str(camera.second().text)

    hot, greedy = said(5.0), said(0.0)
    assert hot != greedy
    assert said(5.0) == hot
    assert said(0.0) == greedy


def test_what_may_not_be_changed_or_is_out_of_range_is_refused(camera: Camera) -> None:
    result = set_parameter(camera, "temperature", double(9.0))
    assert not result.successful
    assert "5" in result.reason
    result = set_parameter(camera, "fps", double(4.0))
    assert not result.successful
    assert "read-only" in result.reason
    request = DescribeParameters.Request(names=["temperature", "fps", "model", "instruction"])
    described = camera.peer.call(DescribeParameters, "/narrator/describe_parameters", request)
    assert [d.read_only for d in described.descriptors] == [False, True, True, True]
    assert all(d.description for d in described.descriptors)


def test_the_diagnostics_tell_what_the_node_does(camera: Camera) -> None:
    camera.second()
    status = camera.peer.wait_for_status(
        lambda v: v["state"] == "active", after=len(camera.peer.diagnostics)
    )
    assert status["model"] == TINY["model"]
    assert status["topic"] == "/image"
    assert int(status["rounds"]) > 0
    assert int(status["frames received"]) >= int(status["frames sampled"]) > 0
    assert status["failures"] == "0"
    assert float(status["latency (s)"]) > 0
