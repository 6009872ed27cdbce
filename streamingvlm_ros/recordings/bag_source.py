"""A camera in a bag as a source of chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import dropwhile, takewhile
from typing import NamedTuple, TypeVar

from ..bags.cdr import MessageDecoder
from ..bags.reader import BagReader
from ..bags.types import IMAGE_TYPES, Topic
from ..config import FrameConfig
from ..errors import BagError, SourceError
from ..frames.chunker import Chunker, RawChunk, SampleResult
from ..frames.image_decoding import BadImageError, Picture, check, stamp_ns_of, to_array, to_frames
from ..session import Event, Reset
from ..types import NS_PER_S, Chunk
from .rejected import Rejected

T = TypeVar("T")

_MARGIN_NS = 10 * NS_PER_S
"""The recorder's clock runs with the camera's if it is less than so far from where it began."""


class _Stamped(NamedTuple):
    """A picture that can be used, with the camera's stamp and the recorder's."""

    stamp_ns: int
    recorded_ns: int
    picture: Picture

    @property
    def behind_ns(self) -> int:
        return self.recorded_ns - self.stamp_ns


class BagSource:
    """The chunks of one camera, cut by its stamps as the live node cuts them.

    Where the stamps jump back, as after a restart of the robot, the stream begins anew; a span
    ends there. Images that can't be used are left out and counted in `rejected`.
    """

    def __init__(
        self,
        bag: BagReader,
        topic: str | None,
        config: FrameConfig,
        span_s: tuple[float, float] | None = None,
    ) -> None:
        """`topic` may be None if there is only one camera.

        SourceError, which says of a damaged bag that it is, if there is no image to be seen.

        With `span_s` only [begin, end) is given, seconds from `start_ns`, in chunks from its
        begin on, and nothing after the stamps jumped back by ten seconds or more: its seconds
        come again there.
        """
        self._bag, self._config, self._span_s = bag, config, span_s
        self.topic = _camera(bag, topic)
        self.rejected = Rejected()
        first = self._first()
        chunk_ns = round(config.chunk_seconds * NS_PER_S)
        self.start_ns = first.stamp_ns // chunk_ns * chunk_ns
        """When the chunk began that the first image is part of."""
        self._behind_ns = first.behind_ns

    def __iter__(self) -> Iterator[Event]:
        chunker: Chunker[Picture] = Chunker(self._config)
        begin_ns, pictures = self._span()
        self.rejected.clear()
        for stamp_ns, _, picture in pictures:
            if chunker.jumped_back(stamp_ns - begin_ns):
                chunker = Chunker(self._config)
                yield [Reset()]
            result, done = chunker.offer(stamp_ns - begin_ns, picture)
            if result is SampleResult.LATE:
                self.rejected.add("late", "each came after a later one")
            yield from self._decoded(done, begin_ns)
        yield from self._decoded(chunker.close(), begin_ns)

    def stamps(self) -> Iterator[tuple[int, int]]:
        """The camera's and the recorder's, in ns, of all images in the bag; none is decoded."""
        return ((its.stamp_ns, its.recorded_ns) for its in self._pictures())

    def _first(self) -> _Stamped:
        """The first image. At least one must be readable."""
        first: _Stamped | None = None
        for its in self._pictures():
            first = first or its
            try:
                to_array(its.picture)
            except BadImageError as error:
                self._reject(error)
            else:
                return first
        why = f": {self.rejected}" if self.rejected else ""
        raise _error(
            self._bag, f"{self.topic.name} in {self._bag.path} has no image that can be used{why}"
        )

    def _span(self) -> tuple[int, Iterator[_Stamped]]:
        """What chunks are counted from, and the pictures."""
        if self._span_s is None:
            return 0, self._pictures()
        begin_ns, end_ns = (self.start_ns + round(its * NS_PER_S) for its in self._span_s)
        found = until_back(self._found(begin_ns), lambda its: its.stamp_ns, self._config)
        after = dropwhile(lambda its: its.stamp_ns < begin_ns, found)
        return begin_ns, takewhile(lambda its: its.stamp_ns < end_ns, after)

    def _found(self, begin_ns: int) -> Iterator[_Stamped]:
        """The pictures from shortly before `begin_ns` on, or all of them.

        A bag is searched by the recorder's clock. Where that runs otherwise than the camera's, as
        in a simulation or a bag that was converted, they are found by reading all.
        """
        found = self._pictures(begin_ns + self._behind_ns - _MARGIN_NS)
        first = next(found, None)
        if first and abs(first.behind_ns - self._behind_ns) < _MARGIN_NS:
            yield first
            yield from found
        else:
            self.rejected.clear()
            yield from self._pictures()

    def _pictures(self, since_ns: int = 0) -> Iterator[_Stamped]:
        """Those that can be used, recorded at `since_ns` or later."""
        decoder = MessageDecoder()
        for recorded in self._bag.messages([self.topic.name], since_ns):
            try:
                picture = decoder.decode(recorded)
                check(picture)
            except BadImageError as error:
                self._reject(error)
            except BagError:
                self.rejected.add("message", "a message is damaged")
            else:
                yield _Stamped(stamp_ns_of(picture), recorded.stamp_ns, picture)

    def _decoded(self, chunks: list[RawChunk[Picture]], begin_ns: int) -> Iterator[Chunk]:
        for raw in chunks:
            stamped = [(begin_ns + stamp_ns, picture) for stamp_ns, picture in raw.frames]
            if frames := to_frames(stamped, self._reject):
                yield Chunk(frames, begin_ns + raw.start_ns, begin_ns + raw.end_ns)

    def _reject(self, error: BadImageError) -> None:
        self.rejected.add(error.reason, str(error))


def until_back(
    stamped: Iterable[T], stamp_ns: Callable[[T], int], config: FrameConfig
) -> Iterator[T]:
    """What comes before time goes back, as a stream would begin anew there."""
    chunker: Chunker[None] = Chunker(config)
    for its in stamped:
        if chunker.jumped_back(stamp_ns(its)):
            return
        chunker.offer(stamp_ns(its), None)
        yield its


def _camera(bag: BagReader, name: str | None) -> Topic:
    cameras = {topic.name: topic for topic in bag.topics if topic.type in IMAGE_TYPES}
    if name in cameras:
        return cameras[name]
    there = ", ".join(cameras)
    if not cameras:
        raise _error(bag, f"{bag.path} has no images")
    if name is not None:
        raise _error(bag, f"{name} is no camera in {bag.path}; its cameras: {there}")
    if len(cameras) > 1:
        raise _error(bag, f"{bag.path} has several cameras; name one of: {there}")
    return next(iter(cameras.values()))


def _error(bag: BagReader, what: str) -> SourceError:
    """What is wrong, and what of the bag could not be read: perhaps that is why."""
    lost = [f"{part}: {why}" for part, why in bag.losses.items()]
    return SourceError("; ".join([what, *lost]))
