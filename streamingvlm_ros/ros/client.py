"""A client of a narrator in another process, for programs that don't know ROS messages."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
from streamingvlm_ros.msg import HistoryEntry
from streamingvlm_ros.srv import History

from ..errors import StreamingVLMError
from ..history.types import Entry
from ..types import to_ns
from .messages import to_time
from .qos import REQUESTS

_DISCOVERY_TIMEOUT_S = 10.0
"""Longest search for a narrator: discovery takes a few seconds on a busy machine."""

_CANCEL_TIMEOUT_S = 2.0
"""Longest wait for the narrator to confirm that a question is cancelled."""

_REPLY_TIMEOUT_S = 30.0
"""Longest wait for a reply that needs no model. DDS may lose a reply to a client that is new."""

_TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of action/Ask.action, field by field. Stamps are 0 where there is no answer."""

    success: bool
    message: str
    answer: str
    seen_from_ns: int
    seen_until_ns: int
    moments_ns: tuple[int, ...]
    time_to_first_token_s: float
    tokens: int


class Client:
    """Asks one narrator, in the calling thread.

    `check` is called many times a second during a wait, outside of ROS code; an exception from it
    ends the wait.

    Raises:
        StreamingVLMError: there is no such narrator, it went away, or it does not reply.
    """

    def __init__(
        self, node: Node, executor: Executor, *, narrator: str, check: Callable[[], None]
    ) -> None:
        self._node, self._executor = node, executor
        self._narrator, self._check = narrator, check

    def ask(self, goal: dict[str, Any], on_text: Callable[[str], None]) -> Reply:
        """Ask a question, and call `on_text` with each text of the answer as it arrives.

        After a lost text, `on_text` gets no more: the reply holds the complete answer. `goal` holds
        fields of action/Ask.action. An exception before the answer is complete, also one from
        `on_text`, cancels the question.
        """
        # A bounded queue of feedback would lose texts when `on_text` is slow.
        client: Any = ActionClient(
            self._node, Ask, f"{self._narrator}/ask", feedback_sub_qos_profile=REQUESTS
        )
        try:
            self._discover(client.server_is_ready)
            return self._ask(client, Ask.Goal(**goal), on_text=on_text)
        finally:
            client.destroy()

    def history(
        self, *, since_ns: int, until_ns: int, words: str, limit: int
    ) -> tuple[list[Entry], bool]:
        """Return the entries that srv/History.srv finds, and True if there are more than `limit`.

        Raises:
            StreamingVLMError: the narrator refuses, for instance because it has no history.
        """
        name = f"{self._narrator}/history"
        client: Any = self._node.create_client(History, name, qos_profile=REQUESTS)
        self._discover(client.service_is_ready)
        request = History.Request(
            since=to_time(since_ns), until=to_time(until_ns), words=words, limit=limit
        )
        response = self._wait_for_reply(client.call_async(request), client.service_is_ready)
        if not response.success:
            raise StreamingVLMError(response.message)
        return [_entry(message) for message in response.entries], response.more

    def _ask(self, client: Any, goal: Ask.Goal, *, on_text: Callable[[str], None]) -> Reply:
        received: deque[Ask.Feedback] = deque()
        next_offset = 0

        def hand_over() -> None:
            nonlocal next_offset
            while received:
                feedback = received.popleft()
                if feedback.offset == next_offset:
                    on_text(feedback.text)
                    next_offset += len(feedback.text)

        sent = client.send_goal_async(goal, lambda message: received.append(message.feedback))
        try:
            handle = self._wait_for_reply(sent, client.server_is_ready)
            if not handle.accepted:
                raise StreamingVLMError(f"{self._narrator} rejected the question")
            future = handle.get_result_async()
            response = self._wait(future, client.server_is_ready, after_turn=hand_over)
        except BaseException:
            self._cancel(sent, client.server_is_ready)
            raise
        return _reply(response.result)

    def _cancel(self, sent: Any, is_ready: Callable[[], bool]) -> None:
        """Cancel a question and wait for the confirmation, for a limited time."""
        deadline = time.monotonic() + _CANCEL_TIMEOUT_S
        cancelled: Any = None
        while is_ready() and time.monotonic() < deadline:
            if cancelled is None and sent.done():
                cancelled = sent.result().cancel_goal_async()
            if cancelled is not None and cancelled.done():
                return
            self._turn()

    def _discover(self, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _DISCOVERY_TIMEOUT_S
        while not is_ready():
            if time.monotonic() > deadline:
                raise StreamingVLMError(self._absence())
            self._turn()

    def _wait_for_reply(self, future: Future[Any], is_ready: Callable[[], bool]) -> Any:
        deadline = time.monotonic() + _REPLY_TIMEOUT_S

        def check_deadline() -> None:
            if time.monotonic() > deadline and not future.done():
                raise StreamingVLMError(
                    f"{self._narrator} has not replied within {_REPLY_TIMEOUT_S:g} s: ask again"
                )

        return self._wait(future, is_ready, after_turn=check_deadline)

    def _wait(
        self,
        future: Future[Any],
        is_ready: Callable[[], bool],
        *,
        after_turn: Callable[[], None],
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
        """Return why no narrator was found, and what to do."""
        name = self._narrator
        nodes = self._node.get_node_names_and_namespaces()
        if name in (f"{namespace.rstrip('/')}/{node}" for node, namespace in nodes):
            return (
                f"{name} runs but can't be asked: it is not a narrator, or its model is still "
                f"loading or failed to load. See its log and `ros2 lifecycle get {name}`"
            )
        absence = f"no {name} in ROS domain {self._node.context.get_domain_id()}"
        others = [
            action.removesuffix("/ask")
            for action, kinds in get_action_names_and_types(self._node)
            if "streamingvlm_ros/action/Ask" in kinds and action != f"{name}/ask"
        ]
        if others:
            return f"{absence}, but {', '.join(others)}: choose one with --node"
        return (
            f"{absence}: start it with `ros2 launch streamingvlm_ros narrate.launch.py`, or set "
            "ROS_DOMAIN_ID to the domain in which it runs"
        )


@contextmanager
def connected(narrator: str, check: Callable[[], None]) -> Iterator[Client]:
    """Yield a client of the node `narrator`; a name without a slash is in the root namespace.

    The client has a ROS context of its own and leaves signals to the program.

    Raises:
        StreamingVLMError: `narrator` is not a valid name.
    """
    full_name = f"/{narrator.strip('/')}"
    try:
        validate_full_topic_name(full_name)
    except InvalidTopicNameException as error:
        raise StreamingVLMError(f"{narrator!r} is not a valid node name: {error}") from error
    context = Context()
    rclpy.init(context=context, args=[])
    # The underscore hides it from `ros2 node list`; the process id makes the name unique.
    name = f"_streamingvlm_{os.getpid()}"
    node = Node(name, context=context, enable_rosout=False, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        yield Client(node, executor, narrator=full_name, check=check)
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


def _reply(result: Ask.Result) -> Reply:
    return Reply(
        success=result.success,
        message=result.message,
        answer=result.answer,
        seen_from_ns=to_ns(result.seen_from),
        seen_until_ns=to_ns(result.seen_until),
        moments_ns=tuple(to_ns(stamp) for stamp in result.moments),
        time_to_first_token_s=result.time_to_first_token,
        tokens=result.tokens,
    )


def _entry(message: HistoryEntry) -> Entry:
    return Entry(
        text=message.text,
        start_ns=to_ns(message.start),
        end_ns=to_ns(message.end),
        question=message.question,
        camera=message.camera,
    )
