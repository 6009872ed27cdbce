"""MCAP files read in the order of time: with an index or without, complete or damaged."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from mcap.opcode import Opcode
from mcap.records import Channel, Schema

from .damage import Damage
from .mcap_layout import MESSAGE, Block, indexed_counts, read_block, read_layout, records
from .topic_qos import normalised_qos
from .types import BagMessage, Topic

_MAX_SORTED_BYTES = 128 * 2**20
"""Messages held to be sorted. Beyond this, they are yielded although an earlier one may follow."""

_ENCODINGS = {"ros2msg": "ros2msg", "ros2idl": "ros2idl", "omgidl": "ros2idl"}
"""Languages of message definitions in MCAP, and in `Topic`."""

_Queued = tuple[int, int, int, BagMessage]
"""A message behind its sort key: stamp, block, number in the block."""


class McapReader:
    """One MCAP file. Damaged chunks are left out and described by `loss`."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        """Read the topics; `stack` closes the file. ValueError if this is no MCAP file."""
        self._file = stack.enter_context(path.open("rb"))
        layout = self._layout = read_layout(self._file)
        self._topics = dict(_topics(layout.channels, layout.schemas))
        self.topics = tuple(dict.fromkeys(self._topics.values()))
        self.foreign = tuple(_foreign(layout.channels, layout.schemas))
        self.incomplete = layout.incomplete
        self.span_ns = _span_ns(layout.blocks)
        # While a block is held, the allocator reuses the memory of the one before it. Otherwise it
        # goes back to the system each time, and reading takes twice as long.
        self._last_data = memoryview(b"")
        self._damage = Damage(self.span_ns[0] if self.span_ns else 0)

    @property
    def loss(self) -> str:
        """Description of the damaged chunks; empty if there are none so far."""
        return str(self._damage)

    def messages(self, topics: Collection[Topic], since_ns: int) -> Iterator[BagMessage]:
        """Yield the messages of these topics from `since_ns` on, without damaged chunks."""
        wanted = {number: topic for number, topic in self._topics.items() if topic in topics}
        blocks = [
            (block.first_ns, block.offset, block)
            for block in self._layout.blocks
            if _may_hold(block, wanted, since_ns=since_ns)
        ]
        heapq.heapify(blocks)
        queue: list[_Queued] = []
        queued_bytes = 0
        while blocks or queue:
            if blocks and (
                not queue or (blocks[0][0] <= queue[0][0] and queued_bytes < _MAX_SORTED_BYTES)
            ):
                _, _, block = heapq.heappop(blocks)
                for item in self._read(block, wanted, since_ns=since_ns):
                    queued_bytes += len(item[-1].data)
                    heapq.heappush(queue, item)
            else:
                *_, message = heapq.heappop(queue)
                queued_bytes -= len(message.data)
                yield message

    def is_intact(self) -> bool:
        """Read everything; return True if nothing is damaged or missing."""
        for block in self._layout.blocks:
            self._read(block, {}, since_ns=0)
        return not self.incomplete and not self.loss

    def _read(self, block: Block, wanted: Mapping[int, Topic], *, since_ns: int) -> list[_Queued]:
        """Return the messages of a block; none if it is damaged."""
        known = self._layout.channels
        items: list[_Queued] = []
        unknown = 0
        try:
            data = self._last_data = read_block(self._file, block)
            for opcode, begin, end in records(data):
                if opcode != Opcode.MESSAGE:
                    continue
                channel_id, _, stamp_ns, _ = MESSAGE.unpack_from(data, begin)
                if channel_id in wanted and stamp_ns >= since_ns:
                    content = bytes(data[begin + MESSAGE.size : end])
                    message = BagMessage(wanted[channel_id], stamp_ns, content)
                    items.append((stamp_ns, block.offset, begin, message))
                unknown += channel_id not in known
        except Exception:  # A broken byte may raise anything in the libraries.
            self._add_damage(block)
            return []
        if unknown:
            self._damage.add_messages_of_unknown_topics(block.offset, unknown)
        return items

    def _add_damage(self, block: Block) -> None:
        counts = indexed_counts(self._file, block) if block.is_chunk else Counter[int]()
        lost = {
            topic.name: count
            for number, count in counts.items()
            if (topic := self._topics.get(number))
        }
        span_ns = block.first_ns, block.last_ns
        self._damage.add_chunk(block.offset, span_ns, lost=Counter(lost))


def _span_ns(blocks: Collection[Block]) -> tuple[int, int] | None:
    # A chunk without messages has stamps of 0.
    filled = [block for block in blocks if block.last_ns] or blocks
    if not filled:
        return None
    return min(block.first_ns for block in filled), max(block.last_ns for block in filled)


def _may_hold(block: Block, wanted: Mapping[int, Topic], *, since_ns: int) -> bool:
    """Return False if a block has no message of these channels from `since_ns` on."""
    # Some writers leave a chunk's stamps 0.
    if 0 < block.last_ns < since_ns:
        return False
    return not block.channel_ids or not block.channel_ids.isdisjoint(wanted)


def _topics(
    channels: Mapping[int, Channel], schemas: Mapping[int, Schema]
) -> Iterator[tuple[int, Topic]]:
    """Yield the channels of ROS 2 messages."""
    for number, channel in channels.items():
        schema = schemas.get(channel.schema_id)
        if schema and channel.message_encoding == "cdr":
            encoding = _ENCODINGS.get(schema.encoding, "")
            yield (
                number,
                Topic(
                    channel.topic,
                    _type_name(schema.name),
                    schema.data.decode(errors="replace") if encoding else "",
                    encoding,
                    channel.metadata.get("topic_type_hash", ""),
                    normalised_qos(channel.metadata.get("offered_qos_profiles", "")),
                ),
            )


def _type_name(name: str) -> str:
    """Return `sensor_msgs/msg/Image` also for `sensor_msgs/Image`, as the mcap library writes."""
    package, _, short = name.partition("/")
    return name if "/" in short else f"{package}/msg/{short}"


def _foreign(channels: Mapping[int, Channel], schemas: Mapping[int, Schema]) -> Iterator[str]:
    """Yield the encodings of the channels that hold no ROS 2 messages."""
    for channel in channels.values():
        schema = schemas.get(channel.schema_id)
        if channel.message_encoding != "cdr":
            yield schema.encoding if schema and schema.encoding else channel.message_encoding
