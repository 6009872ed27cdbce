"""Asks a narrator in a process of its own: `python -m tests.ros.asker service|action JSON`.

JSON is a list of requests' fields. What happens comes out as lines of JSON: {"n": number of the
request, "event": "ready" | "accepted" | "piece" | "result", …}. Lines on the standard input are
commands: `ask` all requests at once, when it is ready; `cancel N`, which is a goal's number.
"""

from __future__ import annotations

import json
import sys
import threading
from functools import partial
from queue import SimpleQueue
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from streamingvlm_ros.action import Ask as AskAction
from streamingvlm_ros.srv import Ask

from streamingvlm_ros.ros import qos
from streamingvlm_ros.ros.conversions import to_ns

NODE = "/narrator"
TICK_S = 0.02
"""Longest time until a command is obeyed."""


def tell(n: int, event: str, **facts: Any) -> None:
    print(json.dumps({"n": n, "event": event, **facts}), flush=True)


def told(result: Any) -> dict[str, Any]:
    fields = {name: getattr(result, name) for name in result.get_fields_and_field_types()}
    fields |= {name: to_ns(fields[name]) for name in ("seen_from", "seen_until")}
    return {**fields, "moments": [to_ns(stamp) for stamp in result.moments]}


class Asker:
    """Asks, and tells what comes of it; all in the thread of whoever calls, as rclpy wants it."""

    def __init__(self, node: Node, executor: Executor, kind: str, requests: list[Any]) -> None:
        self._executor, self._requests = executor, requests
        self.left = len(requests)
        self._goals: dict[int, Any] = {}
        self._ask = self._call if kind == "service" else self._send
        if kind == "service":
            self._client: Any = node.create_client(Ask, f"{NODE}/ask", qos_profile=qos.REQUESTS)
            assert self._client.wait_for_service(60.0)
            return
        self._client = ActionClient(
            node,
            AskAction,
            f"{NODE}/ask",
            feedback_sub_qos_profile=qos.FEEDBACK,
            goal_service_qos_profile=qos.REQUESTS,
            result_service_qos_profile=qos.REQUESTS,
            cancel_service_qos_profile=qos.REQUESTS,
        )
        assert self._client.wait_for_server(60.0)
        self._meet()

    def obey(self, command: str) -> None:
        match command.split():
            case ["ask"]:
                self._ask()
            case ["cancel", n]:
                self._goals[int(n)].cancel_goal_async()

    def _meet(self) -> None:
        """Ask until a piece is heard: who has just met may miss what the other says at first."""
        goal, heard = AskAction.Goal(question="Do I hear you?", max_tokens=12), list[Any]()
        success = True
        while success and not heard:
            accepted = self._wait_for(self._client.send_goal_async(goal, heard.append))
            success = self._wait_for(accepted.get_result_async()).result.success

    def _wait_for(self, future: Any) -> Any:
        self._executor.spin_until_future_complete(future, 60.0)
        return future.result()

    def _call(self) -> None:
        for n, request in enumerate(self._requests):
            future = self._client.call_async(Ask.Request(**request))
            future.add_done_callback(lambda done, n=n: self._over(n, done.result()))

    def _send(self) -> None:
        for n, request in enumerate(self._requests):
            goal = AskAction.Goal(**request)
            future = self._client.send_goal_async(goal, partial(self._piece, n))
            future.add_done_callback(partial(self._accepted, n))

    def _piece(self, n: int, message: Any) -> None:
        tell(n, "piece", text=message.feedback.text)

    def _accepted(self, n: int, future: Any) -> None:
        self._goals[n] = future.result()
        tell(n, "accepted")
        result = self._goals[n].get_result_async()
        result.add_done_callback(
            lambda done: self._over(n, done.result().result, status=done.result().status)
        )

    def _over(self, n: int, result: Any, **facts: Any) -> None:
        tell(n, "result", **told(result), **facts)
        self.left -= 1


def main() -> None:
    kind, requests = sys.argv[1], json.loads(sys.argv[2])
    rclpy.init()
    node = Node("asker")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    asker = Asker(node, executor, kind, requests)
    commands: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=lambda: [commands.put(line) for line in sys.stdin], daemon=True).start()
    tell(-1, "ready")
    while asker.left:
        executor.spin_once(timeout_sec=TICK_S)
        while not commands.empty():
            asker.obey(commands.get())
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
