"""Messages of bags to Python objects and back, without ROS."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ..errors import BagError
from ..resources import resource
from ..types import NS_PER_S
from .types import BagMessage, Topic

_PACKAGE = "streamingvlm_ros"


class MessageDecoder:
    """Deserialises messages as their bag defines them; where it doesn't, as `known_types` do."""

    def __init__(self) -> None:
        self._stores: dict[Topic, Typestore] = {}

    def decode(self, recorded: BagMessage) -> Any:
        """The message, its fields as attributes. BagError if it can't be made out."""
        topic = recorded.topic
        try:
            if topic not in self._stores:
                self._stores[topic] = _types_of(topic)
            return self._stores[topic].deserialize_cdr(recorded.data, topic.type)
        except (SerdeError, TypesysError, LookupError, ValueError, AssertionError) as error:
            raise BagError(f"a message of {topic.name} ({topic.type}): {error!r}") from error


def stamp_ns(time: Any) -> int:
    """A builtin_interfaces/Time in nanoseconds."""
    return int(time.sec) * NS_PER_S + int(time.nanosec)


def encode(message: Any) -> bytes:
    """A message of `known_types` as CDR."""
    return bytes(known_types().serialize_cdr(message, message.__msgtype__))


def topic_of(name: str, kind: str) -> Topic:
    """A topic of one of `known_types`, as a bag wants to know it."""
    definition, _ = known_types().generate_msgdef(kind, ros_version=2)
    return Topic(name, kind, definition, "ros2msg", known_types().hash_rihs01(kind))


def live_topic(name: str, kind: str, type_hash: str, qos: str) -> Topic:
    """A topic as its publishers announce it. Without a definition if theirs is not a known one."""
    try:
        known = topic_of(name, kind)
    except (TypesysError, LookupError):
        known = None
    if known is None or known.hash != type_hash:
        return Topic(name, kind, encoding="", hash=type_hash, qos=qos)
    return replace(known, qos=qos)


@cache
def known_types() -> Typestore:
    """The messages of ROS 2 itself, and this package's."""
    store, definitions = get_typestore(Stores.ROS2_KILTED), resource("msg")
    if definitions is None:
        raise BagError(f"{_PACKAGE}'s message definitions are not installed: install it again")
    for path in sorted(definitions.glob("*.msg")):
        store.register(get_types_from_msg(path.read_text(), f"{_PACKAGE}/msg/{path.stem}"))
    return store


def _types_of(topic: Topic) -> Typestore:
    if topic.encoding != "ros2msg" or not topic.definition:
        return known_types()
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(topic.definition, topic.type))
    return store
