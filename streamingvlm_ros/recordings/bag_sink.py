"""Narrations written to a bag as the narrator would have published them."""

from __future__ import annotations

from typing import Any

from ..bags.cdr import encode, known_types, topic_of
from ..bags.types import NARRATION_TYPE
from ..bags.writer import BagWriter
from ..config import FrameConfig
from ..errors import BagError
from ..types import NS_PER_S, Narration
from .recording import Recording

_STRING = "std_msgs/msg/String"

_END_NS = 2**31 * NS_PER_S
"""End of the times that a ROS stamp can hold: 2038. A bag's own stamps begin in 1970."""


def check_stamps(recording: Recording, config: FrameConfig) -> None:
    """Check that a bag can hold the narrations of a recording. This reads the recording.

    Raises:
        BagError: Its images are from before 1970 or after 2038.
    """
    stamps_ns = [image.stamp_ns for image in recording.image_stamps]
    chunk_ns = round(config.chunk_seconds * NS_PER_S)
    if not stamps_ns:
        return
    begin_ns = min(stamps_ns) // chunk_ns * chunk_ns
    end_ns = max(stamps_ns) // chunk_ns * chunk_ns + chunk_ns
    if begin_ns < 0 or end_ns >= _END_NS:
        raise BagError(
            f"the images of {recording.path} are stamped from {begin_ns / NS_PER_S:.1f} s to "
            f"{end_ns / NS_PER_S:.1f} s, and a bag can only hold 0 s to {2**31} s (1970 to 2038); "
            "use another --format, or record again with the camera's clock set"
        )


class BagSink:
    """Writes each narration at the stamp of its newest frame.

    The latency is always 0, so that the same recording and model give the same bytes.
    """

    def __init__(self, bag: BagWriter, node: str = "/narrator") -> None:
        """Prepare the topics below `node`, the name of the narrator."""
        self._bag = bag
        self._narration = topic_of(f"{node}/narration", NARRATION_TYPE)
        self._text = topic_of(f"{node}/text", _STRING)

    def __call__(self, narration: Narration) -> None:
        """Write one narration, and its text unless it is empty."""
        self._bag.write(self._narration, narration.newest_ns, data=encode(_message(narration)))
        if narration.text:
            words = known_types().types[_STRING](data=narration.text)
            self._bag.write(self._text, narration.newest_ns, data=encode(words))


def _message(narration: Narration) -> Any:
    types: Any = known_types().types
    header = types["std_msgs/msg/Header"](_stamp(narration.newest_ns), narration.frame_id)
    return types[NARRATION_TYPE](
        header=header,
        start=_stamp(narration.start_ns),
        end=_stamp(narration.end_ns),
        text=narration.text,
        silent=narration.silent,
        camera="",
        sequence=narration.sequence,
        frames=narration.frames,
        dropped=narration.dropped,
        latency=0.0,
    )


def _stamp(stamp_ns: int) -> Any:
    types: Any = known_types().types
    return types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, NS_PER_S))
