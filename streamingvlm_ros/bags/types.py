"""Topics and messages of a bag, and the request for a saved clip."""

from __future__ import annotations

from dataclasses import dataclass, field

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
"""Message types of a camera's topics."""

NARRATION_TYPE = "streamingvlm_ros/msg/Narration"
"""Message type of a narrator's narration."""
ANSWER_TYPE = "streamingvlm_ros/msg/Answer"
"""Message type of a narrator's answers."""


BEFORE_FIRST_NS = -(2**63)
"""A stamp before all others; a clock may be set before 1970."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic and the layout of its messages.

    `definition` is the text of the message type and of the types in it, as the bag has it, or
    empty. `encoding` is the language of that text: 'ros2msg' or 'ros2idl'. `hash` is the type's
    hash (REP-2011), `qos` the publishers' offered quality of service as YAML; both may be empty.
    """

    name: str
    type: str
    definition: str = field(default="", repr=False)
    encoding: str = "ros2msg"
    hash: str = field(default="", repr=False)
    qos: str = field(default="", repr=False)

    @property
    def transient_local(self) -> bool:
        """True if a publisher keeps its messages for late subscribers, as on /tf_static."""
        return "transient_local" in self.qos


@dataclass(frozen=True, slots=True)
class BagMessage:
    """A message as it was received: CDR bytes, and the time of recording."""

    topic: Topic
    stamp_ns: int
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class ClipRequest:
    """The time span to save as a clip, and a person's remarks about it."""

    label: str
    requested_ns: int
    """Time of the request, by the clock that stamps messages."""
    from_ns: int
    until_ns: int
    corrected: str = ""
    """The narration that the model should have given; empty if nothing is known to be wrong."""
