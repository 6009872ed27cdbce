"""Asks a narrator from another process. The part of `streamingvlm ask` and `history` with ROS."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.action.graph import get_action_names_and_types
from rclpy.context import Context
from rclpy.exceptions import InvalidTopicNameException
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future
from rclpy.validate_full_topic_name import validate_full_topic_name

from streamingvlm_ros.action import Ask
from streamingvlm_ros.srv import History

from ..errors import StreamingVLMError
from ..history.types import Entry
from .conversions import to_time
from .qos import REQUESTS
from .replies import Reply, entry_of, reply_of

_PATIENCE_S = 10.0
"""Longest time to look for a narrator: discovery takes a few seconds on a busy machine."""

_FAREWELL_S = 2.0
"""Longest time that a cancelled question keeps its asker."""

_REPLY_S = 30.0
"""Longest time for what is replied at once. A reply to a client that is new to it may be lost."""

_TICK_S = 0.05


class Client:
    """Talks to one narrator, in the thread of whoever calls.

    `check` is called many times a second while something is waited for, when ROS is at rest; what
    it raises ends the wait. StreamingVLMError if there is no such narrator, it goes away, or it
    does not reply.
    """

    def __init__(
        self, node: Node, executor: Executor, narrator: str, check: Callable[[], None]
    ) -> None:
        self._node, self._executor = node, executor
        self._narrator, self._check = narrator, check

    def ask(self, goal: dict[str, Any], heard: Callable[[str], None]) -> Reply:
        """Ask, and hand each piece of the answer to `heard` as it comes.

        None after one that was lost on the way: the reply holds the whole answer. `goal` holds
        fields of action/Ask.action. Whatever ends the wait before there is an answer, an error of
        `heard` included, cancels the question.
        """
        # Were the queue of pieces bounded, a slow reader would miss some.
        client: Any = ActionClient(
            self._node, Ask, f"{self._narrator}/ask", feedback_sub_qos_profile=REQUESTS
        )
        try:
            self._find(client.server_is_ready)
            return self._asked(client, Ask.Goal(**goal), heard)
        finally:
            client.destroy()

    def history(
        self, since_ns: int, until_ns: int, words: str, limit: int
    ) -> tuple[list[Entry], bool]:
        """What srv/History.srv answers, and whether there is more. StreamingVLMError if refused."""
        name = f"{self._narrator}/history"
        client: Any = self._node.create_client(History, name, qos_profile=REQUESTS)
        self._find(client.service_is_ready)
        request = History.Request(
            since=to_time(since_ns), until=to_time(until_ns), words=words, limit=limit
        )
        response = self._reply(client.call_async(request), client.service_is_ready)
        if not response.success:
            raise StreamingVLMError(response.message)
        return [entry_of(entry) for entry in response.entries], response.more

    def _asked(self, client: Any, goal: Ask.Goal, heard: Callable[[str], None]) -> Reply:
        pieces: deque[Ask.Feedback] = deque()
        told = 0

        def hand_over() -> None:
            nonlocal told
            while pieces:
                piece = pieces.popleft()
                if piece.offset == told:
                    heard(piece.text)
                    told += len(piece.text)

        sent = client.send_goal_async(goal, lambda message: pieces.append(message.feedback))
        try:
            taken = self._reply(sent, client.server_is_ready)
            if not taken.accepted:
                raise StreamingVLMError(f"{self._narrator} did not take the question")
            future = taken.get_result_async()
            response = self._receive(future, client.server_is_ready, hand_over)
        except BaseException:
            self._cancel(sent, client.server_is_ready)
            raise
        return reply_of(response.result)

    def _cancel(self, sent: Any, is_ready: Callable[[], bool]) -> None:
        """Take a question back and wait until the narrator knows, or for a while."""
        deadline = time.monotonic() + _FAREWELL_S
        cancelled: Any = None
        while is_ready() and time.monotonic() < deadline:
            if cancelled is None and sent.done():
                cancelled = sent.result().cancel_goal_async()
            if cancelled is not None and cancelled.done():
                return
            self._turn()

    def _find(self, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not is_ready():
            if time.monotonic() > deadline:
                raise StreamingVLMError(self._absence())
            self._turn()

    def _reply(self, future: Future[Any], is_ready: Callable[[], bool]) -> Any:
        deadline = time.monotonic() + _REPLY_S

        def look_at_the_time() -> None:
            if time.monotonic() > deadline and not future.done():
                raise StreamingVLMError(
                    f"{self._narrator} has not replied within {_REPLY_S:g} s: ask again"
                )

        return self._receive(future, is_ready, look_at_the_time)

    def _receive(
        self,
        future: Future[Any],
        is_ready: Callable[[], bool],
        after_turn: Callable[[], None] = lambda: None,
    ) -> Any:
        while not future.done():
            if not is_ready():
                raise StreamingVLMError(f"{self._narrator} ended before it had answered")
            self._turn()
            after_turn()
        return future.result()

    def _turn(self) -> None:
        self._executor.spin_once(timeout_sec=_TICK_S)
        self._check()

    def _absence(self) -> str:
        """Why nobody answers, and what to do."""
        name = self._narrator
        nodes = self._node.get_node_names_and_namespaces()
        if name in (f"{namespace.rstrip('/')}/{node}" for node, namespace in nodes):
            return (
                f"{name} is there but can't be asked: it is no narrator, or its model is still "
                f"loading or could not be loaded. Its log and `ros2 lifecycle get {name}` tell"
            )
        absent = f"no {name} in ROS domain {self._node.context.get_domain_id()}"
        others = [
            action.removesuffix("/ask")
            for action, kinds in get_action_names_and_types(self._node)
            if "streamingvlm_ros/action/Ask" in kinds and action != f"{name}/ask"
        ]
        if others:
            return f"{absent}, but {', '.join(others)}: name the one you mean with --node"
        return (
            f"{absent}: start it with `ros2 launch streamingvlm_ros narrate.launch.py`; one in "
            "another domain is found with ROS_DOMAIN_ID"
        )


@contextmanager
def connected(narrator: str, check: Callable[[], None]) -> Iterator[Client]:
    """A client of the node `narrator`, for as long as the block lasts.

    A name without a leading slash is taken in the root namespace. The client has a ROS context of
    its own and leaves signals to the program.
    """
    full_name = f"/{narrator.strip('/')}"
    try:
        validate_full_topic_name(full_name)
    except InvalidTopicNameException as error:
        raise StreamingVLMError(f"{narrator!r} can't be a node's name: {error}") from error
    context = Context()
    rclpy.init(context=context, args=[])
    # The underscore hides it from lists of nodes, the number tells it from others.
    name = f"_streamingvlm_{os.getpid()}"
    node = Node(name, context=context, enable_rosout=False, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        yield Client(node, executor, full_name, check)
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
