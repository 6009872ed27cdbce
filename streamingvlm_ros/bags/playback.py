"""Which messages of a bag are played, and when."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..errors import BagError
from ..types import NS_PER_S
from .transient_local import TransientLocalMessages
from .types import IMAGE_TYPES, NARRATION_TYPE, BagMessage, Topic

NARRATOR_TOPICS = ("narration", "text", "answer", "annotated/compressed")
"""What a narrator publishes, after its own name."""

EXCLUDED_TOPICS = ("/clock", "/diagnostics", "/rosout", "/parameter_events")
"""About the machine that recorded, at the time when it did."""

GRACE_S = 2.0
"""So long after one camera has a subscriber, the others' are waited for: some never have one."""


@dataclass(frozen=True)
class PlaybackClock:
    """The bag's time: `begin_ns` when this is made, and from then on `rate` times as fast."""

    begin_ns: int
    rate: float
    _since_s: float = field(default_factory=time.monotonic)

    def now_ns(self) -> int:
        """The bag's time now."""
        return self.begin_ns + round((time.monotonic() - self._since_s) * self.rate * NS_PER_S)

    def seconds_until(self, stamp_ns: int) -> float:
        """Seconds of wall time until it is `stamp_ns` in the bag; negative when that is past."""
        return (stamp_ns - self.now_ns()) / (self.rate * NS_PER_S)


class StartCondition:
    """Decides when enough of a bag's cameras are watched for it to begin."""

    def __init__(self, cameras: Collection[str]) -> None:
        self._cameras = cameras
        self._first_s: float | None = None

    def is_met(self, watched: Collection[str], now_s: float) -> bool:
        """Whether all cameras are among those that are watched, or one has been for `GRACE_S`."""
        if not watched:
            self._first_s = None
        elif self._first_s is None:
            self._first_s = now_s
        late = self._first_s is not None and now_s - self._first_s >= GRACE_S
        return late or not self.unwatched(watched)

    def unwatched(self, watched: Collection[str]) -> list[str]:
        """The cameras that nobody watches."""
        return [name for name in self._cameras if name not in watched]


def messages_from(messages: Iterable[BagMessage], start_s: float) -> Iterator[BagMessage]:
    """What is left after so many seconds, and before it what latched topics said until then.

    BagError if nothing is.
    """
    before, first_ns, last_ns, begun = TransientLocalMessages(), None, 0, False
    for recorded in messages:
        first_ns = recorded.stamp_ns if first_ns is None else first_ns
        last_ns = max(last_ns, recorded.stamp_ns)
        if recorded.stamp_ns >= first_ns + round(start_s * NS_PER_S):
            if not begun:
                yield from (replace(r, stamp_ns=recorded.stamp_ns) for r in before.all())
            begun = True
            yield recorded
        elif recorded.topic.transient_local:
            before.add(recorded)
    if first_ns is None:
        raise BagError("it holds no message that could be")
    if not begun:
        long_s = (last_ns - first_ns) / NS_PER_S
        raise BagError(f"it is {long_s:.1f} s long and start_s is {start_s:g}: lower start_s")


def topics_to_play(topics: Sequence[Topic], camera: str = "") -> list[Topic]:
    """All but what a narrator said, what is about the machine that recorded, and other cameras.

    `camera` is an image topic, or what is before its /compressed; empty takes all. As in a launch
    file, it may lack its first /. BagError if it is none of the bag's.
    """
    narrators = {t.name.removesuffix("narration") for t in topics if t.type == NARRATION_TYPE}
    said = {f"{narrator}{name}" for narrator in narrators for name in NARRATOR_TOPICS}
    cameras = [topic.name for topic in topics if topic.type in IMAGE_TYPES]
    name = f"/{camera.lstrip('/')}"
    wanted = [n for n in cameras if not camera or n in (name, f"{name}/compressed")]
    if camera and not wanted:
        there = ", ".join(cameras) or "none"
        raise BagError(f"{camera} is no camera in the bag; its cameras: {there}")
    others = set(cameras) - set(wanted)
    return [topic for topic in topics if topic.name not in {*EXCLUDED_TOPICS, *said, *others}]
