"""A camera in front of a narrator in another process, and the narrator's services."""

from __future__ import annotations

import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger
from streamingvlm_ros.msg import Answer, Narration
from streamingvlm_ros.srv import Ask

from streamingvlm_ros.ros.messages import image_message
from streamingvlm_ros.types import NS_PER_S

from .node_process import Process
from .ros_peer import Peer, Topic

PICTURE = np.random.default_rng(0).integers(0, 255, (56, 56, 3), np.uint8)


def change_state(peer: Peer, transition: int) -> bool:
    """Request a lifecycle transition of /narrator; return True if it succeeded."""
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(peer.call(ChangeState, "/narrator/change_state", request).success)


def lifecycle_state(peer: Peer) -> int:
    """Return the id of /narrator's lifecycle state."""
    return int(peer.call(GetState, "/narrator/get_state", GetState.Request()).current_state.id)


class NarratorClient:
    """Publishes whole seconds of sensor time as fast as they are requested, and asks questions."""

    def __init__(self, peer: Peer, process: Process) -> None:
        """Wait until the narrator is active."""
        self.peer, self.process = peer, process
        self.narrations = peer.subscribe(Narration, "/narrator/narration")
        self.texts = peer.subscribe(String, "/narrator/text")
        self._publisher = peer.publisher(Image, "/image")
        peer.until(lambda: peer.node.count_publishers("/narrator/narration"))
        # The narrator subscribes shortly before it is active.
        peer.wait_for_status(lambda v: v["state"] == "active")
        self.now_s = 1000

    def publish(self, *stamps_ns: int, **changes: object) -> None:
        """Publish images without a pause: a chunk closes when its next frame is late."""
        messages = [
            image_message(PICTURE, stamp_ns, frame_id="camera_optical") for stamp_ns in stamps_ns
        ]
        for message in messages:
            for name, value in changes.items():
                setattr(message, name, value)
        for message in messages:
            self._publisher.publish(message)

    def second(self) -> Narration:
        """Publish the next second's two frames, and return its narration."""
        count, self.now_s = len(self.narrations), self.now_s + 1
        self.publish(self.now_s * NS_PER_S, self.now_s * NS_PER_S + NS_PER_S // 2)
        return self.narrations.wait(lambda m: m.start.sec == self.now_s, count)

    def wait_for_subscriber(self) -> None:
        """Wait until somebody subscribes to the images, for instance again."""
        self.peer.until(self._publisher.get_subscription_count)

    def count(self, name: str) -> int:
        """Return a counter's value in the next diagnostics."""
        return int(self.peer.next_status().get(name, "0"))

    def wait_for_count(self, name: str, number: int) -> None:
        """Wait until a counter in the diagnostics has exactly that value."""
        self.peer.wait_for_status(lambda v: v.get(name) == str(number))

    def ask(self, question: str, max_tokens: int = 0) -> Ask.Response:
        return self.peer.call(
            Ask, "/narrator/ask", Ask.Request(question=question, max_tokens=max_tokens)
        )

    def answers(self) -> Topic:
        """Subscribe to the answers, and ask until the narrator has discovered the subscription.

        The last of these answers has arrived on return. The narrator must have seen something.
        """
        answers = self.peer.subscribe(Answer, "/narrator/answer")
        questions: list[str] = []

        def answer_arrives() -> bool:
            questions.append(f"{len(questions)}")
            assert self.ask(questions[-1], max_tokens=1).success
            return len(answers) > 0

        self.peer.until(answer_arrives)
        answers.wait(lambda a: a.question == questions[-1])
        return answers

    def reset(self) -> None:
        assert self.peer.call(Trigger, "/narrator/reset", Trigger.Request()).success
