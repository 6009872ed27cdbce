"""Image messages of bags as views of their bytes: no pixel is copied or decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ..bags.cdr import MessageDecoder, known_types
from ..bags.types import BagMessage, Topic
from ..errors import BagError
from ..frames.image_decoding import Header, Picture

_RAW, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_HEADS = {
    _RAW: """
        std_msgs/Header header
        uint32 height
        uint32 width
        string encoding
        uint8 is_bigendian
        uint32 step
        uint32 data_length""",
    _COMPRESSED: """
        std_msgs/Header header
        string format
        uint32 data_length""",
}
"""Fields of an image message before its data, ending with the data's length."""

_ENCAPSULATION = 4
"""Bytes before the fields: the second one is 1 for little-endian CDR."""
_PADDING = 3
"""Maximum number of padding bytes after a message."""


@dataclass(slots=True)
class RawView:
    """The fields of a sensor_msgs/Image. `data` is a view of the message."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


@dataclass(slots=True)
class CompressedView:
    """The fields of a sensor_msgs/CompressedImage. `data` is a view of the message."""

    header: Header
    format: str
    data: memoryview


class ImageMessages:
    """Reads the image messages of one topic.

    rosbags copies a message to deserialise it. Images are large, and usually only the stamp is
    needed, so fields are read in place. If a bag has its own definition of an image type, rosbags
    reads its images.
    """

    def __init__(self, topic: Topic) -> None:
        self._decoder = None if _is_standard(topic) else MessageDecoder()
        self._type = topic.type

    def read(self, message: BagMessage) -> Picture:
        """Return the image. BagError if the message is damaged."""
        if self._decoder:
            image: Picture = self._decoder.decode(message)
            return image
        try:
            return _view(message.data, self._type)
        except (SerdeError, struct.error, ValueError) as error:
            raise BagError(f"a message of {message.topic.name} is damaged: {error}") from error


def _view(data: bytes, kind: str) -> Picture:
    if data[:2] not in (b"\0\0", b"\0\1"):
        raise ValueError(f"CDR can't begin with {data[:2]!r}")
    head_type = _head_types().get_msgdef(_head_name(kind))
    parse = head_type.deserialize_cdr_le if data[1] else head_type.deserialize_cdr_be
    fields = memoryview(data)[_ENCAPSULATION:]
    head: Any
    head, begin = parse(fields, 0, head_type.cls, _head_types())
    end = begin + head.data_length
    if not end <= len(fields) <= end + _PADDING:
        raise ValueError(f"its {len(fields)} bytes should be {end}")
    pixels = fields[begin:end]
    if kind == _COMPRESSED:
        return CompressedView(head.header, head.format, pixels)
    return RawView(
        head.header,
        head.height,
        head.width,
        head.encoding,
        head.is_bigendian,
        head.step,
        pixels,
    )


def _is_standard(topic: Topic) -> bool:
    if topic.encoding != "ros2msg" or not topic.definition:
        return True
    try:
        definitions = get_types_from_msg(topic.definition, topic.type)
    except TypesysError:
        return False
    known = known_types().fielddefs
    return all(known.get(name) == fields for name, fields in definitions.items())


@cache
def _head_types() -> Typestore:
    store = get_typestore(Stores.ROS2_KILTED)
    for kind, fields in _HEADS.items():
        store.register(get_types_from_msg(fields, _head_name(kind)))
    return store


def _head_name(kind: str) -> str:
    return kind.replace("sensor_msgs", "streamingvlm_ros") + "Head"
