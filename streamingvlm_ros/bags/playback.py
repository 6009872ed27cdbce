"""Playback of a bag: the topics to play, the first message, and the time of each."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..errors import BagError
from ..types import NS_PER_S
from .transient_local import TransientLocalMessages
from .types import IMAGE_TYPES, NARRATION_TYPE, BagMessage, Topic

NARRATOR_TOPICS = ("narration", "text", "answer", "annotated/compressed")
"""Topics that a narrator publishes below its own name."""

EXCLUDED_TOPICS = ("/clock", "/diagnostics", "/rosout", "/parameter_events")
"""Topics about the recording machine at the time of recording."""

GRACE_S = 2.0
"""Time between the first camera's subscriber and the start without the other cameras', which may
never have one."""


@dataclass(frozen=True)
class PlaybackClock:
    """The bag's time: `begin_ns` at construction, and `rate` times as fast as wall time."""

    begin_ns: int
    rate: float
    _since_s: float = field(default_factory=time.monotonic)

    def now_ns(self) -> int:
        """Return the bag's time."""
        return self.begin_ns + round((time.monotonic() - self._since_s) * self.rate * NS_PER_S)

    def seconds_until(self, stamp_ns: int) -> float:
        """Return the seconds of wall time until the bag's time is `stamp_ns`; negative if past."""
        return (stamp_ns - self.now_ns()) / (self.rate * NS_PER_S)


class StartCondition:
    """Decides when enough of a bag's cameras have a subscriber for playback to start."""

    def __init__(self, cameras: Collection[str]) -> None:
        self._cameras = cameras
        self._first_s: float | None = None

    def is_met(self, watched: Collection[str], now_s: float) -> bool:
        """Return whether all cameras are in `watched`, or `watched` is not empty for `GRACE_S`."""
        if not watched:
            self._first_s = None
        elif self._first_s is None:
            self._first_s = now_s
        grace_is_over = self._first_s is not None and now_s - self._first_s >= GRACE_S
        return grace_is_over or not self.unwatched(watched)

    def unwatched(self, watched: Collection[str]) -> list[str]:
        """Return the cameras that are not in `watched`."""
        return [name for name in self._cameras if name not in watched]


def messages_from(messages: Iterable[BagMessage], start_s: float) -> Iterator[BagMessage]:
    """Yield the messages from `start_s` on, after the state of transient-local topics at that time.

    Raises:
        BagError: There is no message at or after `start_s`.
    """
    state, first_ns, last_ns, started = TransientLocalMessages(), None, 0, False
    for message in messages:
        first_ns = message.stamp_ns if first_ns is None else first_ns
        last_ns = max(last_ns, message.stamp_ns)
        if message.stamp_ns >= first_ns + round(start_s * NS_PER_S):
            if not started:
                yield from (replace(m, stamp_ns=message.stamp_ns) for m in state.all())
            started = True
            yield message
        elif message.topic.transient_local:
            state.add(message)
    if first_ns is None:
        raise BagError("it holds no message that can be played")
    if not started:
        duration_s = (last_ns - first_ns) / NS_PER_S
        raise BagError(f"it is {duration_s:.1f} s long and start_s is {start_s:g}: lower start_s")


def topics_to_play(topics: Sequence[Topic], camera: str = "") -> list[Topic]:
    """Return all topics but a narrator's, those about the recording machine, and other cameras.

    `camera` is an image topic, with or without /compressed, with or without the first /; empty
    means all cameras.

    Raises:
        BagError: `camera` is not in the bag.
    """
    narrators = {t.name.removesuffix("narration") for t in topics if t.type == NARRATION_TYPE}
    narrated = {f"{narrator}{name}" for narrator in narrators for name in NARRATOR_TOPICS}
    cameras = [topic.name for topic in topics if topic.type in IMAGE_TYPES]
    name = f"/{camera.lstrip('/')}"
    wanted = [n for n in cameras if not camera or n in (name, f"{name}/compressed")]
    if camera and not wanted:
        raise BagError(
            f"{camera} is not a camera in the bag; its cameras: {', '.join(cameras) or 'none'}"
        )
    others = set(cameras) - set(wanted)
    excluded = {*EXCLUDED_TOPICS, *narrated, *others}
    return [topic for topic in topics if topic.name not in excluded]
