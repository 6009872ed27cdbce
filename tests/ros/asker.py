"""Asks a narrator in a process of its own: `python -m tests.ros.asker service|action JSON`.

JSON is a list of requests' fields. What happens comes out as lines of JSON: {"n": number of the
request, "event": "ready" | "met" | "accepted" | "piece" | "result", …}. Lines on the standard input
are commands: `ask` all requests at once, when it is ready; `meet` the narrator, so that no piece of
an action is lost; `cancel N`, which is a goal's number.
"""

from __future__ import annotations

import json
import sys
import threading
from functools import partial
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from streamingvlm_ros.action import Ask as AskAction
from streamingvlm_ros.srv import Ask

from streamingvlm_ros.ros import qos
from streamingvlm_ros.ros.conversions import to_ns

NODE = "/narrator"


def tell(n: int, event: str, **facts: Any) -> None:
    print(json.dumps({"n": n, "event": event, **facts}), flush=True)


def told(result: Any) -> dict[str, Any]:
    fields = {name: getattr(result, name) for name in result.get_fields_and_field_types()}
    fields |= {name: to_ns(fields[name]) for name in ("seen_from", "seen_until")}
    return {**fields, "moments": [to_ns(stamp) for stamp in result.moments]}


class Asker:
    """Counts what is not over yet; `done` is set when that is nothing."""

    def __init__(self, node: Node, kind: str, requests: list[dict[str, Any]]) -> None:
        self._requests = requests
        self._left = len(requests)
        self._goals: dict[int, Any] = {}
        self.done = threading.Event()
        if kind == "service":
            self._client: Any = node.create_client(Ask, f"{NODE}/ask", qos_profile=qos.REQUESTS)
            assert self._client.wait_for_service(60.0)
            self.ask = self._call
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
        self.ask = self._send

    def meet(self) -> None:
        """Ask until a piece is heard: the narrator may not have found its listener before."""
        heard = threading.Event()
        goal = AskAction.Goal(question="Do I hear you?", max_tokens=1)
        while not heard.is_set():
            accepted, over = threading.Event(), threading.Event()
            sent = self._client.send_goal_async(goal, lambda _: heard.set())
            sent.add_done_callback(lambda _, accepted=accepted: accepted.set())
            accepted.wait()
            result = sent.result().get_result_async()
            result.add_done_callback(lambda _, over=over: over.set())
            over.wait()
        tell(-1, "met")

    def cancel(self, n: int) -> None:
        self._goals[n].cancel_goal_async()

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
        self._left -= 1
        if not self._left:
            self.done.set()


def main() -> None:
    kind, requests = sys.argv[1], json.loads(sys.argv[2])
    rclpy.init()
    node = Node("asker")
    executor = SingleThreadedExecutor()
    # Before anything spins: rclpy shows an action's client to the executor before it is whole.
    asker = Asker(node, kind, requests)
    executor.add_node(node)
    spinner = threading.Thread(target=executor.spin)
    spinner.start()
    threading.Thread(target=obey, args=(asker,), daemon=True).start()
    tell(-1, "ready")
    asker.done.wait()
    executor.shutdown()
    spinner.join()
    node.destroy_node()
    rclpy.shutdown()


def obey(asker: Asker) -> None:
    for line in sys.stdin:
        match line.split():
            case ["ask"]:
                asker.ask()
            case ["meet"]:
                asker.meet()
            case ["cancel", n]:
                asker.cancel(int(n))


if __name__ == "__main__":
    main()
