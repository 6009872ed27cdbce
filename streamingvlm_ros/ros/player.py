"""The node `player`: publishes what a bag holds, in the bag's time, for a narrator to watch."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from rclpy.clock import Clock as ROSClock
from rclpy.clock import ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from ..bags.latched import Latched
from ..bags.reader import BagReader
from ..bags.recorded import IMAGE_TYPES, NARRATION, Recorded, Topic
from ..config import check_ranges, setting
from ..errors import BagError
from ..types import NS_PER_S
from . import params, qos
from .conversions import to_time
from .process import run
from .topics import message_class

SAID = ("narration", "text", "answer", "annotated/compressed")
"""What a narrator publishes, after its own name."""

NOT_PLAYED = ("/clock", "/diagnostics", "/rosout", "/parameter_events")
"""About the machine that recorded, at the time when it did."""

TICK_S = 0.01
"""From one message on /clock to the next, at most: others' timers rest on it."""

KEPT = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
)
"""For topics whose publishers kept messages for those who come later, such as /tf_static."""

_FAREWELL = Duration(seconds=2)
"""Longest time that the last messages are given to arrive."""


@dataclass(frozen=True)
class PlayerConfig:
    """What is played, and how."""

    bag: str = setting("", "The bag: a rosbag2 folder, or one of its files.")
    rate: float = setting(1.0, "How many times as fast as it was recorded.", low=0.01, high=100.0)
    start_s: float = setting(
        0.0, "Seconds at the bag's beginning that are left out.", low=0.0, high=1e9
    )
    loop: bool = setting(False, "Begin anew at the end.")

    def __post_init__(self) -> None:
        check_ranges(self)


class Player(Node):
    """Plays once every image topic has a subscriber, and then ends its process.

    What a narrator said is not played: it would speak with two voices. Messages are published as
    they were recorded, without being decoded.
    """

    def __init__(self, config: PlayerConfig | None = None) -> None:
        """`config` None takes it from the node's parameters. BagError if there is no such bag."""
        super().__init__("player")
        self._config = config or params.declare_all(self, PlayerConfig)
        self._bag = BagReader(self._config.bag)
        self._time = self.create_publisher(Clock, "/clock", qos.PUBLISHED)
        self._publishers_of = dict(self._advertised())
        self._cameras = {t.name for t in self._bag.topics if t.type in IMAGE_TYPES}
        self.failed = False
        """Whether playing ended because something was wrong."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="player")
        # By the executor, not here: from then on the signal at the end is waited for.
        steady = ROSClock(clock_type=ClockType.STEADY_TIME)
        self._start = self.create_timer(TICK_S, self._begin, clock=steady)

    def close(self) -> None:
        """Stop playing."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._bag.close()

    def _begin(self) -> None:
        self._start.cancel()
        self._thread.start()

    def _run(self) -> None:
        try:
            self._wait_for_subscribers()
            self._play_all()
        # Whatever it is: nobody else would end the process.
        except Exception as error:
            self.failed = True
            why = str(error) if isinstance(error, BagError) else repr(error)
            self.get_logger().error(f"{self._config.bag} can't be played: {why}")
        finally:
            for name, why in self._bag.losses.items():
                self.get_logger().warning(f"{name}: {why}")
            if not self._stopped.is_set():
                # As Ctrl-C does: the process then ends in good order.
                signal.raise_signal(signal.SIGINT)

    def _play_all(self) -> None:
        # A bag of one moment would otherwise be played as often as the processor can.
        while not self._stopped.wait(TICK_S):
            self._play()
            if not self._config.loop:
                break
        for publisher in self._publishers_of.values():
            publisher.wait_for_all_acked(_FAREWELL)

    def _wait_for_subscribers(self) -> None:
        images = [p for name, p in self._publishers_of.items() if name in self._cameras]
        while waiting := [p.topic_name for p in images if not p.get_subscription_count()]:
            self.get_logger().info(
                f"waiting for a subscriber of {', '.join(waiting)}", throttle_duration_sec=5.0
            )
            if self._stopped.wait(TICK_S):
                return

    def _play(self) -> None:
        """Publish the messages, each at its time, until the end or until it is stopped."""
        pace: Pace | None = None
        for recorded in left(self._bag.messages(self._publishers_of), self._config.start_s):
            pace = pace or Pace(recorded.stamp_ns, self._config.rate)
            while (now_ns := pace.now_ns()) < recorded.stamp_ns:
                self._tell(now_ns)
                if self._stopped.wait(min(TICK_S, pace.seconds_until(recorded.stamp_ns))):
                    return
            self._tell(recorded.stamp_ns)
            self._publishers_of[recorded.topic.name].publish(recorded.data)

    def _tell(self, now_ns: int) -> None:
        self._time.publish(Clock(clock=to_time(now_ns)))

    def _advertised(self) -> Iterator[tuple[str, Publisher[Any]]]:
        for topic in _played(self._bag.topics):
            try:
                kind = message_class(topic.type)
            except ImportError:
                self.get_logger().warning(
                    f"{topic.name} is not played: {topic.type} is not installed"
                )
                continue
            profile = KEPT if topic.latched else qos.PUBLISHED
            yield topic.name, self.create_publisher(kind, topic.name, profile)


@dataclass(frozen=True)
class Pace:
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


def left(messages: Iterable[Recorded], start_s: float) -> Iterator[Recorded]:
    """What is left after so many seconds, and before it what latched topics said until then.

    BagError if nothing is.
    """
    before, first_ns, last_ns, begun = Latched(), None, 0, False
    for recorded in messages:
        first_ns = recorded.stamp_ns if first_ns is None else first_ns
        last_ns = max(last_ns, recorded.stamp_ns)
        if recorded.stamp_ns >= first_ns + round(start_s * NS_PER_S):
            if not begun:
                yield from (replace(r, stamp_ns=recorded.stamp_ns) for r in before.all())
            begun = True
            yield recorded
        elif recorded.topic.latched:
            before.add(recorded)
    if first_ns is None:
        raise BagError("it holds no message that could be")
    if not begun:
        long_s = (last_ns - first_ns) / NS_PER_S
        raise BagError(f"it is {long_s:.1f} s long and start_s is {start_s:g}: lower start_s")


def _played(topics: Sequence[Topic]) -> list[Topic]:
    """All but what a narrator said and what is about the machine that recorded."""
    narrators = {t.name.removesuffix("narration") for t in topics if t.type == NARRATION}
    said = {f"{narrator}{name}" for narrator in narrators for name in SAID}
    return [topic for topic in topics if topic.name not in (*NOT_PLAYED, *said)]


def main(config: PlayerConfig | None = None) -> int:
    """`ros2 run streamingvlm_ros player --ros-args -p bag:=BAG`."""
    failed: list[bool] = []

    def close(player: Player) -> None:
        player.close()
        failed.append(player.failed)

    return run(partial(Player, config), close) or int(any(failed))


if __name__ == "__main__":
    sys.exit(main())
