"""CDR messages to Python objects and back, without ROS."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ..errors import BagError
from ..resources import resource
from .types import BagMessage, Topic

_PACKAGE = "streamingvlm_ros"


class MessageDecoder:
    """Deserialises messages by their bag's definitions, or by `known_types` where it has none."""

    def __init__(self) -> None:
        self._stores: dict[Topic, Typestore] = {}

    def decode(self, message: BagMessage) -> Any:
        """Return the message as an object with its fields as attributes.

        Raises:
            BagError: The message can't be decoded.
        """
        topic = message.topic
        try:
            if topic not in self._stores:
                self._stores[topic] = _types_of(topic)
            return self._stores[topic].deserialize_cdr(message.data, topic.type)
        except (SerdeError, TypesysError, LookupError, ValueError, AssertionError) as error:
            raise BagError(
                f"a message of {topic.name} ({topic.type}) can't be decoded: {error!r}"
            ) from error


def encode(message: Any) -> bytes:
    """Serialise a message of `known_types` to CDR."""
    return bytes(known_types().serialize_cdr(message, message.__msgtype__))


def topic_of(name: str, kind: str) -> Topic:
    """Return a topic of one of `known_types`, with its definition and hash."""
    definition, _ = known_types().generate_msgdef(kind, ros_version=2)
    return Topic(name, kind, definition, "ros2msg", known_types().hash_rihs01(kind))


def live_topic(name: str, kind: str, *, type_hash: str, qos: str) -> Topic:
    """Return a topic as its publishers announce it, without definition if we know no such type."""
    try:
        known = topic_of(name, kind)
    except (TypesysError, LookupError):
        known = None
    if known is None or known.hash != type_hash:
        return Topic(name, kind, encoding="", hash=type_hash, qos=qos)
    return replace(known, qos=qos)


@cache
def known_types() -> Typestore:
    """Return the message types of ROS 2 and of this package."""
    store, definitions = get_typestore(Stores.ROS2_KILTED), resource("msg")
    if definitions is None:
        raise BagError(f"{_PACKAGE}'s message definitions are missing: install the package again")
    for path in sorted(definitions.glob("*.msg")):
        store.register(get_types_from_msg(path.read_text("utf-8"), f"{_PACKAGE}/msg/{path.stem}"))
    return store


def _types_of(topic: Topic) -> Typestore:
    if topic.encoding != "ros2msg" or not topic.definition:
        return known_types()
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(topic.definition, topic.type))
    return store
