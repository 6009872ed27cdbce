"""Asks a narrator in a process of its own: `python -m tests.ros.asker service|action JSON`.

JSON is a list of requests' fields, all of which are asked at once. What happens comes out as lines
of JSON: {"n": number of the request, "event": "accepted" | "piece" | "result", …}. A line
`cancel N` on the standard input cancels goal N.
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

    def __init__(self, node: Node, requests: list[dict[str, Any]]) -> None:
        self._node, self._requests = node, requests
        self._left = len(requests)
        self._goals: dict[int, Any] = {}
        self.done = threading.Event()

    def call(self) -> None:
        client = self._node.create_client(Ask, f"{NODE}/ask", qos_profile=qos.REQUESTS)
        assert client.wait_for_service(60.0)
        for n, request in enumerate(self._requests):
            future = client.call_async(Ask.Request(**request))
            future.add_done_callback(lambda done, n=n: self._over(n, done.result()))

    def send(self) -> None:
        client = ActionClient(
            self._node,
            AskAction,
            f"{NODE}/ask",
            feedback_sub_qos_profile=qos.FEEDBACK,
            goal_service_qos_profile=qos.REQUESTS,
            result_service_qos_profile=qos.REQUESTS,
            cancel_service_qos_profile=qos.REQUESTS,
        )
        assert client.wait_for_server(60.0)
        for n, request in enumerate(self._requests):
            future = client.send_goal_async(AskAction.Goal(**request), partial(self._piece, n))
            future.add_done_callback(partial(self._accepted, n))

    def cancel(self, n: int) -> None:
        self._goals[n].cancel_goal_async()

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
    executor.add_node(node)
    asker = Asker(node, requests)
    # Before anything spins: rclpy shows an action's client to the executor before it is whole.
    (asker.call if kind == "service" else asker.send)()
    spinner = threading.Thread(target=executor.spin)
    spinner.start()
    threading.Thread(target=listen, args=(asker,), daemon=True).start()
    asker.done.wait()
    executor.shutdown()
    spinner.join()
    node.destroy_node()
    rclpy.shutdown()


def listen(asker: Asker) -> None:
    for line in sys.stdin:
        asker.cancel(int(line.split()[1]))


if __name__ == "__main__":
    main()
