"""What tests ask a narrator with: clients in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .peer import PATIENCE_S, ROOT, Peer, Topic
from .test_narrator import Camera

Event = dict[str, Any]


class Asker:
    """A process that can ask several questions at once, and everything that it hears."""

    def __init__(self, peer: Peer, kind: str, requests: list[dict[str, Any]]) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tests.ros.asker", kind, json.dumps(requests)],
            cwd=ROOT,
            env={**os.environ, "ROS_DOMAIN_ID": str(peer.domain)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.events = Topic(f"the output of an asker by {kind}")
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stdout
        for line in self.child.stdout:
            self.events.add(json.loads(line))

    def first(self, event: str, n: int = 0) -> Event:
        """The first event of that kind for request `n`."""
        return self.events.wait(lambda e: e["event"] == event and e["n"] == n)

    def ask(self) -> None:
        self._command("ask")

    def cancel(self, n: int) -> None:
        """Take request `n` back; the first pieces may be heard before it is known as accepted."""
        self.first("accepted", n)
        self._command(f"cancel {n}")

    def _command(self, line: str) -> None:
        assert self.child.stdin
        self.child.stdin.write(f"{line}\n")
        self.child.stdin.flush()

    def results(self) -> list[Event]:
        """All results, by the number of the request, when the process has ended."""
        assert self.child.wait(PATIENCE_S) == 0
        self._reader.join()
        results = [e for e in self.events.all() if e["event"] == "result"]
        return sorted(results, key=lambda e: e["n"])

    def said(self, n: int) -> str:
        """All pieces that were heard of answer `n`."""
        pieces = [e for e in self.events.all() if e["event"] == "piece" and e["n"] == n]
        return "".join(e["text"] for e in pieces)

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()
        self._reader.join()


class Asked(Camera):
    """A narrator that babbles, its camera, and processes that ask."""

    def ask_at_once(self, kind: str, *requests: dict[str, Any]) -> list[Event]:
        with self.asker(kind, *requests) as asker:
            return asker.results()

    @contextmanager
    def asker(self, kind: str, *requests: dict[str, Any]) -> Iterator[Asker]:
        """One that asks at once."""
        with self.ready(kind, *requests) as asker:
            asker.ask()
            yield asker

    @contextmanager
    def ready(self, kind: str, *requests: dict[str, Any]) -> Iterator[Asker]:
        """One that asks when it is told to; by action it has asked before, to meet the narrator."""
        asker = Asker(self.peer, kind, list(requests))
        try:
            asker.first("ready", -1)
            yield asker
        finally:
            asker.kill()

    def wait_for_waiting(self, number: int) -> None:
        """Until so many questions wait or are under way."""
        self.peer.wait_for_status(
            lambda v: v.get("questions waiting") == str(number), after=len(self.peer.diagnostics)
        )
