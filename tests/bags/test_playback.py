"""Which messages of a bag are played, and when it begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamingvlm_ros.bags.playback import GRACE_S, StartCondition, messages_from, topics_to_play
from streamingvlm_ros.bags.types import IMAGE_TYPES, NARRATION_TYPE, BagMessage, Topic
from streamingvlm_ros.errors import BagError
from streamingvlm_ros.types import NS_PER_S as S

from .sample_bags import STRING

QOS = "- {durability: transient_local}"
RAW, COMPRESSED = IMAGE_TYPES
TOPICS = [
    Topic("/front/image", RAW),
    Topic("/narrator/narration", NARRATION_TYPE),
    Topic("/narrator/text", STRING),
    Topic("/note", STRING),
    Topic("/rear/image/compressed", COMPRESSED),
]


def test_what_is_left_begins_where_the_first_message_that_is_left_does() -> None:
    door, note = Topic("/door", STRING, qos=QOS), Topic("/note", STRING)
    told = [(door, 0, b"open"), (note, 1, b"a"), (note, 3, b"b"), (door, 4, b"shut")]
    messages = [BagMessage(topic, (100 + second) * S, data) for topic, second, data in told]
    assert list(messages_from(messages, 0.0)) == messages
    assert list(messages_from(messages, 2.0)) == [
        replace(messages[0], stamp_ns=103 * S),
        *messages[2:],
    ]


@pytest.mark.parametrize(
    ("camera", "names"),
    [
        ("", ["/front/image", "/note", "/rear/image/compressed"]),
        ("/front/image", ["/front/image", "/note"]),
        ("front/image", ["/front/image", "/note"]),
        ("/rear/image", ["/note", "/rear/image/compressed"]),
        ("/rear/image/compressed", ["/note", "/rear/image/compressed"]),
    ],
)
def test_other_cameras_than_the_one_that_is_named_are_not_played(
    camera: str, names: list[str]
) -> None:
    assert [topic.name for topic in topics_to_play(TOPICS, camera)] == names


@pytest.mark.parametrize("camera", ["/note", "/front", "/"])
def test_what_is_no_camera_is_told_with_those_that_are(camera: str) -> None:
    why = rf"{camera} is no camera in the bag; its cameras: /front/image, /rear/image/compressed"
    with pytest.raises(BagError, match=why):
        topics_to_play(TOPICS, camera)
    with pytest.raises(BagError, match="its cameras: none"):
        topics_to_play([], camera)


def test_it_begins_when_all_cameras_are_watched_or_one_has_been_for_a_while() -> None:
    audience = StartCondition(["/front", "/rear"])
    assert not audience.is_met([], 100.0)
    # However long nobody watches.
    assert not audience.is_met(["/rear"], 200.0)
    assert audience.unwatched(["/rear"]) == ["/front"]
    assert not audience.is_met(["/rear"], 200.0 + 0.9 * GRACE_S)
    assert audience.is_met(["/front", "/rear"], 200.0 + 0.9 * GRACE_S)
    assert audience.is_met(["/rear"], 200.0 + GRACE_S)


def test_who_came_and_went_is_not_waited_for() -> None:
    audience = StartCondition(["/front", "/rear"])
    assert not audience.is_met(["/rear"], 100.0)
    assert not audience.is_met([], 100.0 + GRACE_S)
    assert not audience.is_met(["/front"], 101.0 + GRACE_S)


def test_a_bag_without_a_camera_begins_at_once() -> None:
    assert StartCondition([]).is_met([], 0.0)
