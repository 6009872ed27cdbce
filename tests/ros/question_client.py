"""Clients of a narrator in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .narrator_client import NarratorClient
from .node_process import PATIENCE_S, ROOT
from .ros_peer import Peer, Topic

Event = dict[str, Any]


class QuestionProcess:
    """A process that asks several questions at once, and its events."""

    def __init__(self, peer: Peer, kind: str, *, requests: list[dict[str, Any]]) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tests.ros.question_process", kind, json.dumps(requests)],
            cwd=ROOT,
            env={**os.environ, "ROS_DOMAIN_ID": str(peer.domain)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.events = Topic(f"the output of a process that asks by {kind}")
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stdout
        for line in self.child.stdout:
            self.events.add(json.loads(line))

    def first(self, event: str, n: int = 0) -> Event:
        """Wait for the first event of that kind for request `n`, and return it."""
        return self.events.wait(lambda e: e["event"] == event and e["n"] == n)

    def ask(self) -> None:
        self._command("ask")

    def cancel(self, n: int) -> None:
        """Cancel request `n`. Texts may arrive before the acceptance, which this waits for."""
        self.first("accepted", n)
        self._command(f"cancel {n}")

    def _command(self, line: str) -> None:
        assert self.child.stdin
        self.child.stdin.write(f"{line}\n")
        self.child.stdin.flush()

    def results(self) -> list[Event]:
        """Wait for the end of the process, and return all results in the order of the requests."""
        assert self.child.wait(PATIENCE_S) == 0
        self._reader.join()
        results = [e for e in self.events.all() if e["event"] == "result"]
        return sorted(results, key=lambda e: e["n"])

    def text(self, n: int) -> str:
        """Return the text received so far of answer `n`."""
        return "".join(e["text"] for e in self.events.all() if e["event"] == "text" and e["n"] == n)

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()
        self._reader.join()


class QuestionClient(NarratorClient):
    """A camera in front of a narrator, and processes that ask it questions."""

    def ask_at_once(self, kind: str, *requests: dict[str, Any]) -> list[Event]:
        """Ask all questions at the same time, and return the results."""
        with self.asking(kind, *requests) as process:
            return process.results()

    @contextmanager
    def asking(self, kind: str, *requests: dict[str, Any]) -> Iterator[QuestionProcess]:
        """Run a process that asks immediately."""
        with self.ready(kind, *requests) as process:
            process.ask()
            yield process

    @contextmanager
    def ready(self, kind: str, *requests: dict[str, Any]) -> Iterator[QuestionProcess]:
        """Run a process that asks on command. For actions, discovery is complete."""
        process = QuestionProcess(self.peer, kind, requests=list(requests))
        try:
            process.first("ready", -1)
            yield process
        finally:
            process.kill()

    def wait_for_pending(self, number: int) -> None:
        """Wait until that many questions wait or are in progress."""
        self.peer.wait_for_status(
            lambda v: v.get("questions waiting") == str(number), after=len(self.peer.diagnostics)
        )
