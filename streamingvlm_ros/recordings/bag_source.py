"""A camera in a bag as a source of chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..bags.messages import Decoder
from ..bags.reader import BagReader
from ..bags.recorded import IMAGE_TYPES, Topic
from ..config import FrameConfig
from ..errors import BagError, SourceError
from ..frames.pictures import BadImageError, Picture, check, stamp_ns_of, to_frames
from ..frames.sampler import RawChunk, Sampler
from ..session import Event, Reset
from ..types import NS_PER_S, Chunk


class BagSource:
    """The chunks of one camera, cut by its stamps as the live node cuts them.

    Where the stamps jump back, as after a restart of the robot, the stream begins anew. Images
    that can't be used are left out and counted in `rejected`, by the reason.
    """

    def __init__(self, bag: BagReader, topic: str | None, config: FrameConfig) -> None:
        """`topic` may be None if there is only one camera. SourceError if there is no image."""
        self._bag, self._config = bag, config
        self.topic = _camera(bag, topic)
        self.rejected: Counter[str] = Counter()
        first = next(self._pictures(), None)
        if first is None:
            why = f": {dict(self.rejected)}" if self.rejected else ""
            raise SourceError(f"{self.topic.name} in {bag.path} has no image that can be used{why}")
        chunk_ns = round(config.chunk_seconds * NS_PER_S)
        self.start_ns = first[0] // chunk_ns * chunk_ns
        """When the chunk began that the first image is part of."""
        self.rejected.clear()

    def __iter__(self) -> Iterator[Event]:
        sampler: Sampler[Picture] = Sampler(self._config)
        for stamp_ns, picture in self._pictures():
            if sampler.jumped_back(stamp_ns):
                sampler = Sampler(self._config)
                yield [Reset()]
            _, done = sampler.offer(stamp_ns, picture)
            yield from self._decoded(done)
        yield from self._decoded(sampler.close())

    def _pictures(self) -> Iterator[tuple[int, Picture]]:
        decoder = Decoder()
        for recorded in self._bag.messages([self.topic.name]):
            try:
                picture = decoder.decode(recorded)
                check(picture)
            except BadImageError as error:
                self._reject(error)
            except BagError:
                self.rejected["message"] += 1
            else:
                yield stamp_ns_of(picture), picture

    def _decoded(self, chunks: list[RawChunk[Picture]]) -> Iterator[Chunk]:
        for raw in chunks:
            if frames := to_frames(raw.frames, self._reject):
                yield Chunk(frames, raw.start_ns, raw.end_ns)

    def _reject(self, error: BadImageError) -> None:
        self.rejected[error.reason] += 1


def _camera(bag: BagReader, name: str | None) -> Topic:
    cameras = {topic.name: topic for topic in bag.topics if topic.type in IMAGE_TYPES}
    if name in cameras:
        return cameras[name]
    there = ", ".join(cameras) or "none"
    if name is not None:
        raise SourceError(f"{name} is no camera in {bag.path}; its cameras: {there}")
    if len(cameras) != 1:
        raise SourceError(f"{bag.path} has several cameras or none; name one of: {there}")
    return next(iter(cameras.values()))
