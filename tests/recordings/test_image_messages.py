"""Image messages read in place equal those that rosbags deserialises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamingvlm_ros.bags.cdr import MessageDecoder, encode, known_types, topic_of
from streamingvlm_ros.bags.types import BagMessage, Topic
from streamingvlm_ros.errors import BagError
from streamingvlm_ros.recordings.image_messages import ImageMessages

from ..support.world_bags import COMPRESSED, RAW

TYPES: Any = known_types().types
UINT32 = st.integers(0, 2**32 - 1)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
HEADERS = st.builds(
    TYPES["std_msgs/msg/Header"],
    st.builds(TYPES["builtin_interfaces/msg/Time"], st.integers(-(2**31), 2**31 - 1), UINT32),
    TEXTS,
)
DATA = st.binary(max_size=40).map(lambda data: np.frombuffer(data, np.uint8))
IMAGES = st.builds(
    TYPES[RAW], HEADERS, UINT32, UINT32, TEXTS, st.integers(0, 255), UINT32, DATA
) | st.builds(TYPES[COMPRESSED], HEADERS, TEXTS, DATA)


TOPICS = {kind: topic_of("/image", kind) for kind in (RAW, COMPRESSED)}
READERS = {kind: ImageMessages(topic) for kind, topic in TOPICS.items()}
DECODER = MessageDecoder()


def assert_alike(kind: str, data: bytes) -> None:
    """Assert that both readers find the same fields, or both find the message damaged."""
    message = BagMessage(TOPICS[kind], 0, data)
    try:
        expected = DECODER.decode(message)
    except BagError:
        with pytest.raises(BagError):
            READERS[kind].read(message)
        return
    image: Any = READERS[kind].read(message)
    assert image.header.stamp.sec == expected.header.stamp.sec
    assert image.header.stamp.nanosec == expected.header.stamp.nanosec
    assert image.header.frame_id == expected.header.frame_id
    for name in ("height", "width", "encoding", "is_bigendian", "step", "format"):
        assert getattr(image, name, None) == getattr(expected, name, None)
    assert bytes(image.data) == expected.data.tobytes()


@given(IMAGES)
def test_an_image_has_the_fields_that_rosbags_finds(image: Any) -> None:
    assert_alike(image.__msgtype__, encode(image))


@given(IMAGES, st.integers(0, 200), st.binary(max_size=3), st.data())
def test_a_damaged_image_is_an_error_where_it_is_one_for_rosbags(
    image: Any, position: int, replacement: bytes, data: st.DataObject
) -> None:
    whole = encode(image)
    position = min(position, len(whole))
    cut = data.draw(st.integers(position, len(whole)))
    damaged = whole[:position] + replacement + whole[cut:]
    assert_alike(image.__msgtype__, damaged)


def test_a_bag_may_define_an_image_in_its_own_way() -> None:
    definition = "string name\nuint32 number"
    topic = Topic("/image", RAW, definition)
    own: Any = ImageMessages(topic).read(BagMessage(topic, 0, b"\0\1\0\0\2\0\0\0a\0\0\0\7\0\0\0"))
    assert (own.name, own.number) == ("a", 7)
