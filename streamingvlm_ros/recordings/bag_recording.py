"""One camera of a bag, and the narrations and answers recorded beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import dropwhile, takewhile
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from ..bags.cdr import MessageDecoder
from ..bags.reader import BagReader
from ..bags.types import ANSWER_TYPE, IMAGE_TYPES, NARRATION_TYPE, Topic
from ..config import FrameConfig
from ..errors import BagError, SourceError, WordsError
from ..frames.chunker import Chunker, RawChunk, SampleResult
from ..frames.image_decoding import BadImageError, Picture, check, stamp_ns_of, to_array, to_frames
from ..plural import plural
from ..session import Event, Reset
from ..types import NS_PER_S, Chunk, Narration, to_ns
from .image_messages import ImageMessages

T = TypeVar("T")

_MARGIN_NS = 10 * NS_PER_S
"""Largest change of the offset between the recorder's clock and the camera's. Beyond it, a bag
can't be searched by the recorder's clock.
"""


class ImageStamp(NamedTuple):
    """The time an image was taken and the time it was recorded (in a video: by the file)."""

    stamp_ns: int
    recorded_ns: int


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """A question that a narrator was asked, and its answer; `error` is why there is none."""

    question: str
    answer: str
    error: str
    seen_until_ns: int
    recorded_ns: int


class _Image(NamedTuple):
    """A usable image message."""

    stamp_ns: int
    recorded_ns: int
    picture: Picture

    @property
    def delay_ns(self) -> int:
        """Offset of the recorder's clock from the camera's."""
        return self.recorded_ns - self.stamp_ns


class BagRecording:
    """One camera of a bag. Open it with `open_recording`.

    Stamps, narrations and answers are remembered: each is read once, when first asked for.
    """

    notes: Mapping[str, str] = MappingProxyType({})

    def __init__(self, bag: BagReader, camera: str | None) -> None:
        """Find the camera; `camera` may be None if there is only one.

        Raises:
            SourceError: there is no such camera or no usable image; damage to the bag is
                mentioned, as it may be the reason.
        """
        self.path, self.camera = bag.path, camera
        self._bag, self._topic = bag, _find_camera(bag, camera)
        self._messages = ImageMessages(self._topic)
        self._rejected = _RejectedImages()
        first = self._first_image()
        self._first_ns, self._delay_ns = first.stamp_ns, first.delay_ns
        self._narrations: dict[str, Sequence[Narration]] = {}

    @property
    def duration_s(self) -> float | None:
        """Length in seconds by the recorder's clock; None if the end of the bag is missing."""
        return self._bag.duration_s

    @property
    def losses(self) -> dict[str, str]:
        """Reasons for unreadable parts of the bag, by file, and for unused images, by topic.

        Complete when all chunks have been iterated.
        """
        if not self._rejected:
            return self._bag.losses
        return {**self._bag.losses, self._topic.name: str(self._rejected)}

    def start_ns(self, config: FrameConfig) -> int:
        """Return when the first image's chunk begins: seconds are counted from here."""
        chunk_ns = round(config.chunk_seconds * NS_PER_S)
        return self._first_ns // chunk_ns * chunk_ns

    def chunks(
        self, config: FrameConfig, span_s: tuple[float, float] | None = None
    ) -> Iterator[Event]:
        """Yield the chunks as the live node cuts them, and a Reset where the stamps jump back.

        With `span_s` only those of [begin, end), in seconds from `start_ns`: the first chunk
        begins with the span, and nothing is read beyond a jump back. Unusable images are left
        out and counted in `losses`.
        """
        chunker: Chunker[Picture] = Chunker(config)
        begin_ns, images = self._span(config, span_s)
        self._rejected.clear()
        for taken_ns, _, picture in images:
            if chunker.jumped_back(taken_ns - begin_ns):
                chunker = Chunker(config)
                yield [Reset()]
            result, complete = chunker.offer(taken_ns - begin_ns, picture)
            if result is SampleResult.LATE:
                self._rejected.add("late", "each came after a later one")
            yield from self._decoded(complete, begin_ns)
        yield from self._decoded(chunker.close(), begin_ns)

    @cached_property
    def image_stamps(self) -> Sequence[ImageStamp]:
        """The stamps of all usable images in the order of recording. No pixels are decoded."""
        return [ImageStamp(image.stamp_ns, image.recorded_ns) for image in self._images()]

    @property
    def narration_topics(self) -> tuple[str, ...]:
        """Topics on which a narrator or an annotator has published."""
        return tuple(topic.name for topic in self._bag.topics if topic.type == NARRATION_TYPE)

    def narrations(self, topic: str) -> Sequence[Narration]:
        """Return all narrations of a topic. WordsError if it has none, BagError if damaged."""
        if topic not in self.narration_topics:
            known = ", ".join(self.narration_topics) or "none"
            raise WordsError(f"{self.path} has no narration {topic}; its narrations: {known}")
        if topic not in self._narrations:
            decoder = MessageDecoder()
            messages = self._bag.messages([topic])
            self._narrations[topic] = [_narration(decoder.decode(message)) for message in messages]
        return self._narrations[topic]

    @cached_property
    def answers(self) -> Sequence[RecordedAnswer]:
        """All answers of all narrators. BagError if one is damaged."""
        topics = [topic.name for topic in self._bag.topics if topic.type == ANSWER_TYPE]
        decoder = MessageDecoder()
        return [
            _answer(decoder.decode(message), message.stamp_ns)
            for message in (self._bag.messages(topics) if topics else ())
        ]

    def _first_image(self) -> _Image:
        """Return the first image. SourceError if none can be decoded."""
        first: _Image | None = None
        for image in self._images():
            first = first or image
            try:
                to_array(image.picture)
            except BadImageError as error:
                self._reject(error)
            else:
                return first
        reasons = f": {self._rejected}" if self._rejected else ""
        raise _error(self._bag, f"{self._topic.name} in {self.path} has no usable image{reasons}")

    def _span(
        self, config: FrameConfig, span_s: tuple[float, float] | None
    ) -> tuple[int, Iterator[_Image]]:
        """Return the time that chunks are counted from, and the images."""
        if span_s is None:
            return 0, self._images()
        start_ns = self.start_ns(config)
        begin_ns, end_ns = (start_ns + round(time_s * NS_PER_S) for time_s in span_s)
        images = until_jump_back(
            self._images_from(begin_ns), lambda image: image.stamp_ns, config=config
        )
        after = dropwhile(lambda image: image.stamp_ns < begin_ns, images)
        return begin_ns, takewhile(lambda image: image.stamp_ns < end_ns, after)

    def _images_from(self, begin_ns: int) -> Iterator[_Image]:
        """Yield the images from shortly before `begin_ns` on, or all of them.

        A bag is searched by the recorder's clock. If that differs too much from the camera's, as
        in a simulation or a converted bag, everything is read.
        """
        images = self._images(begin_ns + self._delay_ns - _MARGIN_NS)
        first = next(images, None)
        if first and abs(first.delay_ns - self._delay_ns) < _MARGIN_NS:
            yield first
            yield from images
        else:
            self._rejected.clear()
            yield from self._images()

    def _images(self, since_ns: int | None = None) -> Iterator[_Image]:
        """Yield the usable images that were recorded at `since_ns` or later, or all of them."""
        for message in self._bag.messages([self._topic.name], since_ns):
            try:
                picture = self._messages.read(message)
                check(picture)
            except BadImageError as error:
                self._reject(error)
            except BagError:
                self._rejected.add("message", "a message is damaged")
            else:
                yield _Image(stamp_ns_of(picture), message.stamp_ns, picture)

    def _decoded(self, chunks: list[RawChunk[Picture]], begin_ns: int) -> Iterator[Chunk]:
        for raw in chunks:
            stamped = [(begin_ns + since_ns, picture) for since_ns, picture in raw.frames]
            if frames := to_frames(stamped, self._reject):
                yield Chunk(frames, begin_ns + raw.start_ns, begin_ns + raw.end_ns)

    def _reject(self, error: BadImageError) -> None:
        self._rejected.add(error.reason, str(error))


class _RejectedImages:
    """Counts images that are left out, and explains the first one of each kind."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}

    def add(self, kind: str, reason: str) -> None:
        self._counts[kind] += 1
        self._reasons.setdefault(kind, reason)

    def clear(self) -> None:
        self._counts.clear()
        self._reasons.clear()

    def __bool__(self) -> bool:
        return bool(self._counts)

    def __str__(self) -> str:
        return "; ".join(
            f"{plural(count, 'image')} left out: {self._reasons[kind]}"
            for kind, count in self._counts.items()
        )


def until_jump_back(
    items: Iterable[T], stamp_ns: Callable[[T], int], *, config: FrameConfig
) -> Iterator[T]:
    """Yield the items before their stamps jump back so far that a stream would be reset."""
    chunker: Chunker[None] = Chunker(config)
    for item in items:
        if chunker.jumped_back(stamp_ns(item)):
            return
        chunker.offer(stamp_ns(item), None)
        yield item


def _find_camera(bag: BagReader, name: str | None) -> Topic:
    announced = {topic.name: topic for topic in bag.topics if topic.type in IMAGE_TYPES}
    if name in announced and (topic := announced[name]) in bag.cameras:
        return topic
    known = ", ".join(topic.name for topic in bag.cameras)
    if name in announced:
        raise _error(
            bag, f"{name} in {bag.path} has no message; cameras with images: {known or 'none'}"
        )
    if not bag.cameras:
        empty = ", ".join(announced)
        reason = f": {empty} was announced, but nothing was recorded" if empty else ""
        raise _error(bag, f"{bag.path} has no images{reason}{_foreign(bag)}")
    if name is not None:
        raise _error(bag, f"{name} is not a camera in {bag.path}; its cameras: {known}")
    if len(bag.cameras) > 1:
        raise _error(bag, f"{bag.path} has several cameras; name one of: {known}")
    return bag.cameras[0]


def _foreign(bag: BagReader) -> str:
    if not bag.foreign:
        return ""
    return f"; its topics with {', '.join(bag.foreign)} messages are no ROS 2 topics, and not read"


def _error(bag: BagReader, message: str) -> SourceError:
    """Return an error that names the unreadable parts of the bag: they may be its cause."""
    losses = [f"{part}: {reason}" for part, reason in bag.losses.items()]
    return SourceError("; ".join([message, *losses]))


def _narration(message: Any) -> Narration:
    return Narration(
        message.text,
        to_ns(message.start),
        to_ns(message.end),
        to_ns(message.header.stamp),
        frame_id=message.header.frame_id,
        sequence=message.sequence,
        frames=message.frames,
        dropped=message.dropped,
    )


def _answer(message: Any, recorded_ns: int) -> RecordedAnswer:
    return RecordedAnswer(
        message.question,
        message.answer,
        message.message,
        to_ns(message.seen_until),
        recorded_ns,
    )
