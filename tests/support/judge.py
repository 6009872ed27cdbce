"""A judge over HTTP: a server on loopback."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class JudgeServer:
    """Answers each prompt with `reply(prompt)`; records prompts, paths and credentials."""

    def __init__(self, reply: Callable[[str], str]) -> None:
        self.prompts: list[str] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = request["messages"][0]["content"]
                outer.prompts.append(prompt)
                outer.paths.append(self.path)
                outer.keys.append(self.headers["Authorization"])
                answer = {"choices": [{"message": {"content": reply(prompt)}}]}
                body = json.dumps(answer).encode()
                self.send_response(200 if self.path.startswith("/v1/chat/completions") else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@contextmanager
def judge_server(reply: Callable[[str], str]) -> Iterator[JudgeServer]:
    """Run a server for the block."""
    running = JudgeServer(reply)
    thread = threading.Thread(target=running.http.serve_forever)
    thread.start()
    try:
        yield running
    finally:
        running.http.shutdown()
        thread.join()
        running.http.server_close()


def fair_judge(prompt: str) -> str:
    """Prefer the narration that shares more lines with the observer's."""
    observer, first, second = re.split(r"\n(?:Observer|Narration 1|Narration 2):\n", prompt)[1:]
    truth = set(observer.splitlines())
    shared = [len(truth & set(part.splitlines())) for part in (first, second)]
    if shared[0] == shared[1]:
        return "They are equal.\nTIE"
    return f"I looked at 1 and 2.\n{1 if shared[0] > shared[1] else 2}"
