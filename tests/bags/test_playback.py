"""Playback: the topics and messages that are played, and the condition to start."""

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


def test_a_later_start_begins_with_the_transient_local_state_of_that_time() -> None:
    door, note = Topic("/door", STRING, qos=QOS), Topic("/note", STRING)
    rows = [(door, 0, b"open"), (note, 1, b"a"), (note, 3, b"b"), (door, 4, b"shut")]
    messages = [BagMessage(topic, (100 + second) * S, data) for topic, second, data in rows]
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
def test_only_the_chosen_camera_is_played(camera: str, names: list[str]) -> None:
    assert [topic.name for topic in topics_to_play(TOPICS, camera)] == names


@pytest.mark.parametrize("camera", ["/note", "/front", "/"])
def test_an_unknown_camera_is_an_error_that_names_the_cameras(camera: str) -> None:
    error = (
        rf"{camera} is not a camera in the bag; its cameras: /front/image, /rear/image/compressed"
    )
    with pytest.raises(BagError, match=error):
        topics_to_play(TOPICS, camera)
    with pytest.raises(BagError, match="its cameras: none"):
        topics_to_play([], camera)


def test_playback_starts_when_all_cameras_are_watched_or_one_has_been_for_a_while() -> None:
    condition = StartCondition(["/front", "/rear"])
    assert not condition.is_met([], 100.0)
    # However long the cameras have no subscriber.
    assert not condition.is_met(["/rear"], 200.0)
    assert condition.unwatched(["/rear"]) == ["/front"]
    assert not condition.is_met(["/rear"], 200.0 + 0.9 * GRACE_S)
    assert condition.is_met(["/front", "/rear"], 200.0 + 0.9 * GRACE_S)
    assert condition.is_met(["/rear"], 200.0 + GRACE_S)


def test_the_grace_period_begins_anew_when_all_subscribers_have_left() -> None:
    condition = StartCondition(["/front", "/rear"])
    assert not condition.is_met(["/rear"], 100.0)
    assert not condition.is_met([], 100.0 + GRACE_S)
    assert not condition.is_met(["/front"], 101.0 + GRACE_S)


def test_a_bag_without_a_camera_starts_at_once() -> None:
    assert StartCondition([]).is_met([], 0.0)
