"""What latched topics said last, within bounds."""

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


def said(topic: Topic, *data: bytes) -> list[BagMessage]:
    return [BagMessage(topic, number * S, each) for number, each in enumerate(data)]


def kept(*messages: BagMessage) -> list[bytes]:
    store = TransientLocalMessages()
    for recorded in messages:
        store.add(recorded)
    return [recorded.data for recorded in store.all()]


def test_what_was_said_again_is_what_holds() -> None:
    assert kept(*said(DOOR, b"open", b"shut", b"open")) == [b"shut", b"open"]


def test_a_file_begins_with_the_state_in_which_the_one_before_ended(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", BagConfig(split_s=10)) as bag:
        for second, state in enumerate(("open", "shut", "open")):
            bag.write(DOOR, second * S, string(state))
        bag.write(MAP, 20 * S, string("kitchen"))
    assert texts(tmp_path / "bag" / "bag_1.mcap", "/door")[-1] == "open"


def test_each_publisher_of_a_topic_may_have_said_something() -> None:
    assert kept(*said(FRAMES, b"arm", b"arm", b"head")) == [b"arm", b"head"]


def test_a_topic_keeps_no_more_than_so_many() -> None:
    last = kept(*said(DOOR, *(b"%d" % number for number in range(1000))))
    assert last == [b"%d" % number for number in range(1000 - transient_local.MOST, 1000)]


def test_all_together_take_no_more_than_so_many_bytes_and_the_largest_topic_pays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transient_local, "MOST_BYTES", 1000)
    frames = [b"%d" % number for number in range(50)]
    maps = [bytes([number]) * 300 for number in range(10)]
    assert kept(*said(FRAMES, *frames), *said(MAP, *maps)) == [*frames, *maps[-3:]]


def test_what_holds_is_kept_however_large_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transient_local, "MOST_BYTES", 1000)
    maps = bytes(2000), bytes(3000)
    assert kept(*said(MAP, *maps), *said(DOOR, b"open", b"shut")) == [maps[-1], b"shut"]
