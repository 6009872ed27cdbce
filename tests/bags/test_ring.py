"""The last seconds in memory, within bounds."""

from __future__ import annotations

from streamingvlm_ros.bags.ring import Ring
from streamingvlm_ros.bags.types import BagMessage, Topic
from streamingvlm_ros.types import NS_PER_S as S

TOPIC = Topic("/image", "sensor_msgs/msg/Image")


def filled(ring: Ring, seconds: range, size: int = 10) -> Ring:
    for second in seconds:
        ring.append(BagMessage(TOPIC, second * S, bytes(size)))
    return ring


def held(ring: Ring) -> list[int]:
    return [recorded.stamp_ns // S for recorded in ring.since(0)]


def test_it_holds_so_many_seconds() -> None:
    ring = filled(Ring(10.0, 10**6), range(100))
    assert held(ring) == list(range(89, 100))
    assert [r.stamp_ns for r in ring.since(97 * S)] == [97 * S, 98 * S, 99 * S]


def test_it_takes_no_more_memory_than_it_may() -> None:
    ring = filled(Ring(1000.0, 10_000), range(100), size=1000)
    assert ring.size_bytes <= 10_000
    assert 5 <= len(held(ring)) < 10
    assert held(ring)[-1] == 99
    # Small ones have a size, too.
    assert len(held(filled(Ring(10**6, 10_000), range(10_000), size=0))) < 100


def test_a_message_that_is_larger_than_all_of_it_is_not_held() -> None:
    ring = filled(Ring(10.0, 1000), range(3))
    ring.append(BagMessage(TOPIC, 3 * S, bytes(2000)))
    assert held(ring) == []
    assert ring.size_bytes == 0
    assert ring.oldest_ns is None


def test_it_begins_anew_when_time_does() -> None:
    ring = filled(Ring(50.0, 10**6), range(100, 120))
    ring.append(BagMessage(TOPIC, 119 * S - 1000, b"late"))
    assert len(held(ring)) == 21
    ring.append(BagMessage(TOPIC, 3 * S, b"again"))
    assert held(ring) == [3]
