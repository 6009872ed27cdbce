"""The node `player`: publishes a bag's messages in the bag's time, for a narrator to watch."""

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

from ...bags.playback import PlaybackClock, StartCondition, messages_from, topics_to_play
from ...bags.reader import BagReader
from ...bags.types import IMAGE_TYPES
from ...errors import BagError
from ...types import NS_PER_S
from .. import params, qos
from ..config import PlayerConfig
from ..messages import drop_on_timeout, to_time
from ..process import run
from ..recorder.topics import message_class

TICK_S = 0.01
"""Maximum interval of messages on /clock, on which other nodes' timers depend."""

MIN_LOGGED_GAP_S = 10.0
"""Gaps between messages of the bag are logged from this length on."""

TRANSIENT_LOCAL = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
)
"""For topics whose publishers were transient local, such as /tf_static."""

_ACK_TIMEOUT = Duration(seconds=2)
"""Longest wait for subscribers to acknowledge the last messages."""


class Player(Node):
    """Waits for subscribers of the images, plays the bag, and ends the process.

    It plays when every image topic has a subscriber, or one has had one for a while. A narrator's
    output is not played: it would mix with that of the narrator that watches. Messages are
    published as recorded, without decoding them.
    """

    def __init__(self, config: PlayerConfig | None = None) -> None:
        """Open the bag; without `config` the settings are the node's parameters.

        Raises:
            BagError: the bag can't be read, or has no such camera.
        """
        super().__init__("player")
        self._config = config or params.declare_all(self, PlayerConfig)
        self._bag = BagReader(self._config.bag)
        self._topics = topics_to_play(self._bag.used_topics, self._config.camera)
        self._clock_publisher = self.create_publisher(Clock, "/clock", qos.PUBLISHED)
        self._bag_publishers = dict(self._create_publishers())
        self._cameras = [t.name for t in self._topics if t.type in IMAGE_TYPES]
        self.failed = False
        """True if playing ended with an error."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="player")
        # The executor starts the thread: only then can the signal at the end stop the process.
        steady = ROSClock(clock_type=ClockType.STEADY_TIME)
        self._start_timer = self.create_timer(TICK_S, self._start_thread, clock=steady)

    def close(self) -> None:
        """Stop playing."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._bag.close()

    def _start_thread(self) -> None:
        self._start_timer.cancel()
        self._thread.start()

    def _run(self) -> None:
        try:
            self._wait_for_subscribers()
            self._play_all()
        # Any exception: otherwise the process would wait forever.
        except Exception as error:
            self.failed = True
            reason = str(error) if isinstance(error, BagError) else repr(error)
            self.get_logger().error(f"{self._config.bag} can't be played: {reason}")
        finally:
            for name, loss in self._bag.losses.items():
                self.get_logger().warning(f"{name}: {loss}")
            if not self._stopped.is_set():
                # Ends the process as Ctrl-C does.
                signal.raise_signal(signal.SIGINT)

    def _play_all(self) -> None:
        # Without the wait, looping a very short bag would use a whole core.
        while not self._stopped.wait(TICK_S):
            self._play()
            if not self._config.loop:
                break
        for publisher in self._bag_publishers.values():
            publisher.wait_for_all_acked(_ACK_TIMEOUT)

    def _wait_for_subscribers(self) -> None:
        start_condition = StartCondition([n for n in self._cameras if n in self._bag_publishers])
        while not start_condition.is_met(watched := self._watched(), time.monotonic()):
            self.get_logger().info(
                f"waiting for a subscriber of {', '.join(start_condition.unwatched(watched))}",
                throttle_duration_sec=5.0,
            )
            if self._stopped.wait(TICK_S):
                return
        if missing := start_condition.unwatched(watched):
            self.get_logger().warning(f"nobody subscribes to {', '.join(missing)}: playing anyway")

    def _watched(self) -> list[str]:
        publishers = self._bag_publishers.items()
        return [n for n, p in publishers if n in self._cameras and p.get_subscription_count()]

    def _play(self) -> None:
        """Publish each message at its time, until the end of the bag or `close`."""
        pace: PlaybackClock | None = None
        for message in messages_from(
            self._bag.messages(self._bag_publishers), self._config.start_s
        ):
            pace = pace or PlaybackClock(message.stamp_ns, self._config.rate)
            self._log_gap(pace, message.stamp_ns)
            while (now_ns := pace.now_ns()) < message.stamp_ns:
                self._publish_time(now_ns)
                if self._stopped.wait(min(TICK_S, pace.seconds_until(message.stamp_ns))):
                    return
            self._publish_time(message.stamp_ns)
            with drop_on_timeout():
                self._bag_publishers[message.topic.name].publish(message.data)

    def _log_gap(self, pace: PlaybackClock, stamp_ns: int) -> None:
        """Log a long gap in the bag, so that it doesn't look like a fault."""
        gap_s = (stamp_ns - pace.now_ns()) / NS_PER_S
        if gap_s > MIN_LOGGED_GAP_S:
            wait_s = pace.seconds_until(stamp_ns)
            self.get_logger().info(
                f"the bag has no messages for {gap_s:.0f} s: playing continues in {wait_s:.0f} s"
            )

    def _publish_time(self, now_ns: int) -> None:
        with drop_on_timeout():
            self._clock_publisher.publish(Clock(clock=to_time(now_ns)))

    def _create_publishers(self) -> Iterator[tuple[str, Publisher[Any]]]:
        for topic in self._topics:
            try:
                kind = message_class(topic.type)
            except ImportError:
                self.get_logger().warning(
                    f"{topic.name} is not played: {topic.type} is not installed"
                )
                continue
            profile = TRANSIENT_LOCAL if topic.transient_local else qos.PUBLISHED
            yield topic.name, self.create_publisher(kind, topic.name, profile)


def main(config: PlayerConfig | None = None) -> int:
    """Run `ros2 run streamingvlm_ros player --ros-args -p bag:=BAG`."""
    return run(partial(Player, config), Player.close, failed=lambda player: player.failed)


if __name__ == "__main__":
    sys.exit(main())
