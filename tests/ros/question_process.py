"""Asks a narrator from a process of its own.

`python -m tests.ros.question_process service|action JSON`

JSON is a list of requests' fields. Events are printed as lines of JSON, with the request's number:
{"n": 0, "event": "ready" | "accepted" | "text" | "result", …}. Lines on the standard input are
commands: `ask` sends all requests at once; `cancel N` cancels goal number N.
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
from streamingvlm_ros.types import to_ns

NODE = "/narrator"
TICK_S = 0.02
"""Longest delay of a command."""
TIMEOUT_S = 180.0


def report(n: int, event: str, **fields: Any) -> None:
    print(json.dumps({"n": n, "event": event, **fields}), flush=True)


def result_fields(result: Any) -> dict[str, Any]:
    fields = {name: getattr(result, name) for name in result.get_fields_and_field_types()}
    fields |= {name: to_ns(fields[name]) for name in ("seen_from", "seen_until")}
    return {**fields, "moments": [to_ns(stamp) for stamp in result.moments]}


class QuestionSender:
    """Sends questions and reports what happens, all in the calling thread, as rclpy requires."""

    def __init__(self, node: Node, executor: Executor, *, kind: str, requests: list[Any]) -> None:
        self._executor, self._requests = executor, requests
        self.open_requests = len(requests)
        self._goals: dict[int, Any] = {}
        self._ask = self._call_service if kind == "service" else self._send_goals
        if kind == "service":
            self._client: Any = node.create_client(Ask, f"{NODE}/ask", qos_profile=qos.REQUESTS)
            assert self._client.wait_for_service(TIMEOUT_S)
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
        assert self._client.wait_for_server(TIMEOUT_S)
        self._await_discovery()

    def execute(self, command: str) -> None:
        match command.split():
            case ["ask"]:
                self._ask()
            case ["cancel", n]:
                self._goals[int(n)].cancel_goal_async()

    def _await_discovery(self) -> None:
        """Ask until feedback arrives: it is lost until the narrator has discovered this client."""
        goal, feedback = AskAction.Goal(question="Is this received?", max_tokens=12), list[Any]()
        success = True
        while success and not feedback:
            accepted = self._wait_for(self._client.send_goal_async(goal, feedback.append))
            success = self._wait_for(accepted.get_result_async()).result.success

    def _wait_for(self, future: Any) -> Any:
        self._executor.spin_until_future_complete(future, TIMEOUT_S)
        return future.result()

    def _call_service(self) -> None:
        for n, request in enumerate(self._requests):
            future = self._client.call_async(Ask.Request(**request))
            future.add_done_callback(lambda done, n=n: self._report_result(n, done.result()))

    def _send_goals(self) -> None:
        for n, request in enumerate(self._requests):
            goal = AskAction.Goal(**request)
            future = self._client.send_goal_async(goal, partial(self._on_feedback, n))
            future.add_done_callback(partial(self._on_accepted, n))

    def _on_feedback(self, n: int, message: Any) -> None:
        report(n, "text", text=message.feedback.text)

    def _on_accepted(self, n: int, future: Any) -> None:
        self._goals[n] = future.result()
        report(n, "accepted")
        result = self._goals[n].get_result_async()
        result.add_done_callback(
            lambda done: self._report_result(n, done.result().result, status=done.result().status)
        )

    def _report_result(self, n: int, result: Any, **fields: Any) -> None:
        report(n, "result", **result_fields(result), **fields)
        self.open_requests -= 1


def main() -> None:
    kind, requests = sys.argv[1], json.loads(sys.argv[2])
    rclpy.init()
    node = Node("question_process")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    sender = QuestionSender(node, executor, kind=kind, requests=requests)
    commands: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=lambda: [commands.put(line) for line in sys.stdin], daemon=True).start()
    report(-1, "ready")
    while sender.open_requests:
        executor.spin_once(timeout_sec=TICK_S)
        while not commands.empty():
            sender.execute(commands.get())
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
