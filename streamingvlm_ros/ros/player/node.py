"""The node `player`: publishes what a bag holds, in the bag's time, for a narrator to watch."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from rclpy.clock import Clock as ROSClock
from rclpy.clock import ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from ...bags.playback import Audience, Pace, left, played
from ...bags.reader import BagReader
from ...bags.types import IMAGE_TYPES
from ...errors import BagError
from ...types import NS_PER_S
from .. import params, qos
from ..config import PlayerConfig
from ..conversions import to_time
from ..process import run
from ..publishing import drop_on_timeout
from ..recorder.topics import message_class

TICK_S = 0.01
"""From one message on /clock to the next, at most: others' timers rest on it."""

GAP_S = 10.0
"""Seconds of the bag without a message, from which on it is said."""

KEPT = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
)
"""For topics whose publishers kept messages for those who come later, such as /tf_static."""

_FAREWELL = Duration(seconds=2)
"""Longest time that the last messages are given to arrive."""


class Player(Node):
    """Plays once every image topic has a subscriber, or one has had for a while; then ends.

    What a narrator said is not played: it would speak with two voices. Messages are published as
    they were recorded, without being decoded.
    """

    def __init__(self, config: PlayerConfig | None = None) -> None:
        """`config` None takes it from the node's parameters.

        BagError if there is no such bag, or no such camera in it.
        """
        super().__init__("player")
        self._config = config or params.declare_all(self, PlayerConfig)
        self._bag = BagReader(self._config.bag)
        self._topics = played(self._bag.topics, self._config.camera)
        self._time = self.create_publisher(Clock, "/clock", qos.PUBLISHED)
        self._publishers_of = dict(self._advertised())
        self._cameras = [t.name for t in self._topics if t.type in IMAGE_TYPES]
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
        audience = Audience([n for n in self._cameras if n in self._publishers_of])
        while not audience.is_there(watched := self._watched(), time.monotonic()):
            self.get_logger().info(
                f"waiting for a subscriber of {', '.join(audience.missing(watched))}",
                throttle_duration_sec=5.0,
            )
            if self._stopped.wait(TICK_S):
                return
        if missing := audience.missing(watched):
            self.get_logger().warning(
                f"nobody subscribes to {', '.join(missing)}: it plays all the same"
            )

    def _watched(self) -> list[str]:
        publishers = self._publishers_of.items()
        return [n for n, p in publishers if n in self._cameras and p.get_subscription_count()]

    def _play(self) -> None:
        """Publish the messages, each at its time, until the end or until it is stopped."""
        pace: Pace | None = None
        for recorded in left(self._bag.messages(self._publishers_of), self._config.start_s):
            pace = pace or Pace(recorded.stamp_ns, self._config.rate)
            self._announce(pace, recorded.stamp_ns)
            while (now_ns := pace.now_ns()) < recorded.stamp_ns:
                self._tell(now_ns)
                if self._stopped.wait(min(TICK_S, pace.seconds_until(recorded.stamp_ns))):
                    return
            self._tell(recorded.stamp_ns)
            with drop_on_timeout():
                self._publishers_of[recorded.topic.name].publish(recorded.data)

    def _announce(self, pace: Pace, stamp_ns: int) -> None:
        """Say so if nothing comes for long: it is the bag's gap, and nobody's fault."""
        gap_s = (stamp_ns - pace.now_ns()) / NS_PER_S
        if gap_s > GAP_S:
            wait_s = pace.seconds_until(stamp_ns)
            self.get_logger().info(
                f"the bag has nothing for {gap_s:.0f} s: it goes on in {wait_s:.0f} s"
            )

    def _tell(self, now_ns: int) -> None:
        with drop_on_timeout():
            self._time.publish(Clock(clock=to_time(now_ns)))

    def _advertised(self) -> Iterator[tuple[str, Publisher[Any]]]:
        for topic in self._topics:
            try:
                kind = message_class(topic.type)
            except ImportError:
                self.get_logger().warning(
                    f"{topic.name} is not played: {topic.type} is not installed"
                )
                continue
            profile = KEPT if topic.transient_local else qos.PUBLISHED
            yield topic.name, self.create_publisher(kind, topic.name, profile)


def main(config: PlayerConfig | None = None) -> int:
    """`ros2 run streamingvlm_ros player --ros-args -p bag:=BAG`."""
    failed: list[bool] = []

    def close(player: Player) -> None:
        player.close()
        failed.append(player.failed)

    return run(partial(Player, config), close) or int(any(failed))


if __name__ == "__main__":
    sys.exit(main())
