"""The last seconds in memory, within bounds."""

from __future__ import annotations

from streamingvlm_ros.bags.ring import Ring
from streamingvlm_ros.bags.types import BagMessage, Topic
from streamingvlm_ros.types import NS_PER_S as S

TOPIC = Topic("/image", "sensor_msgs/msg/Image")


def filled(ring: Ring, seconds: range, *, size: int = 10) -> Ring:
    for second in seconds:
        ring.append(BagMessage(TOPIC, second * S, bytes(size)))
    return ring


def seconds_in(ring: Ring) -> list[int]:
    return [message.stamp_ns // S for message in ring.since(0)]


def test_messages_older_than_the_limit_are_removed() -> None:
    ring = filled(Ring(10.0, 10**6), range(100))
    assert seconds_in(ring) == list(range(89, 100))
    assert [r.stamp_ns for r in ring.since(97 * S)] == [97 * S, 98 * S, 99 * S]


def test_memory_stays_below_the_limit() -> None:
    ring = filled(Ring(1000.0, 10_000), range(100), size=1000)
    assert ring.size_bytes <= 10_000
    assert 5 <= len(seconds_in(ring)) < 10
    assert seconds_in(ring)[-1] == 99
    # Empty messages take memory, too.
    assert len(seconds_in(filled(Ring(10**6, 10_000), range(10_000), size=0))) < 100


def test_a_message_larger_than_the_limit_is_not_stored() -> None:
    ring = filled(Ring(10.0, 1000), range(3))
    ring.append(BagMessage(TOPIC, 3 * S, bytes(2000)))
    assert seconds_in(ring) == []
    assert ring.size_bytes == 0
    assert ring.oldest_ns is None


def test_a_jump_back_in_time_empties_the_ring() -> None:
    ring = filled(Ring(50.0, 10**6), range(100, 120))
    ring.append(BagMessage(TOPIC, 119 * S - 1000, b"late"))
    assert len(seconds_in(ring)) == 21
    ring.append(BagMessage(TOPIC, 3 * S, b"again"))
    assert seconds_in(ring) == [3]
