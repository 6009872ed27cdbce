"""The last messages of transient-local topics, within bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamingvlm_ros.bags import transient_local
from streamingvlm_ros.bags.transient_local import TransientLocalMessages
from streamingvlm_ros.bags.types import BagMessage, Topic
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.types import NS_PER_S as S

from .sample_bags import STRING, string, texts

QOS = "- {durability: transient_local}"
DOOR, MAP, FRAMES = (Topic(name, STRING, qos=QOS) for name in ("/door", "/map", "/tf_static"))


def messages(topic: Topic, *data: bytes) -> list[BagMessage]:
    return [BagMessage(topic, number * S, each) for number, each in enumerate(data)]


def stored(*messages: BagMessage) -> list[bytes]:
    store = TransientLocalMessages()
    for message in messages:
        store.add(message)
    return [message.data for message in store.all()]


def test_a_repeated_message_becomes_the_newest() -> None:
    assert stored(*messages(DOOR, b"open", b"shut", b"open")) == [b"shut", b"open"]


def test_a_file_begins_with_the_final_state_of_the_one_before(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", BagConfig(split_s=10)) as bag:
        for second, state in enumerate(("open", "shut", "open")):
            bag.write(DOOR, second * S, data=string(state))
        bag.write(MAP, 20 * S, data=string("kitchen"))
    assert texts(tmp_path / "bag" / "bag_1.mcap", "/door")[-1] == "open"


def test_messages_of_several_publishers_are_all_stored() -> None:
    assert stored(*messages(FRAMES, b"arm", b"arm", b"head")) == [b"arm", b"head"]


def test_a_topic_has_a_maximum_number_of_messages() -> None:
    newest = stored(*messages(DOOR, *(b"%d" % number for number in range(1000))))
    assert newest == [b"%d" % number for number in range(1000 - transient_local.MAX_MESSAGES, 1000)]


def test_all_topics_share_a_limit_in_bytes_and_the_largest_loses_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transient_local, "MAX_BYTES", 1000)
    frames = [b"%d" % number for number in range(50)]
    maps = [bytes([number]) * 300 for number in range(10)]
    assert stored(*messages(FRAMES, *frames), *messages(MAP, *maps)) == [*frames, *maps[-3:]]


def test_the_newest_message_is_stored_whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transient_local, "MAX_BYTES", 1000)
    maps = bytes(2000), bytes(3000)
    assert stored(*messages(MAP, *maps), *messages(DOOR, b"open", b"shut")) == [maps[-1], b"shut"]
