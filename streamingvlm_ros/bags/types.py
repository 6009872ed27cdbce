"""What is in a bag."""

from __future__ import annotations

from dataclasses import dataclass, field

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
"""Types of a camera's topics."""

NARRATION_TYPE = "streamingvlm_ros/msg/Narration"
"""Type of what a narrator says."""
ANSWER_TYPE = "streamingvlm_ros/msg/Answer"
"""Type of what it answers."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic, and what its messages look like.

    `definition` is the text of the message's type and of those in it, as the bag has it, or empty;
    `encoding` says what it is written in: 'ros2msg' or 'ros2idl'. `hash` is the type's (REP-2011),
    `qos` what its publishers offered, as YAML; both may be empty.
    """

    name: str
    type: str
    definition: str = field(default="", repr=False)
    encoding: str = "ros2msg"
    hash: str = field(default="", repr=False)
    qos: str = field(default="", repr=False)

    @property
    def transient_local(self) -> bool:
        """Whether a publisher keeps messages for those who come later, as for /tf_static."""
        return "transient_local" in self.qos


@dataclass(frozen=True, slots=True)
class BagMessage:
    """A message as it came: CDR bytes, and when it was recorded."""

    topic: Topic
    stamp_ns: int
    data: bytes = field(repr=False)
