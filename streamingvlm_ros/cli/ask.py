"""`streamingvlm ask`: a question to a running narrator, answered token by token."""

from __future__ import annotations

import json
import sys
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.status import Status

from ..config import AskingConfig
from ..errors import StreamingVLMError
from ..plural import plural
from ..setting import settings_of
from ..types import NS_PER_S, AnswerMode
from .connection import DEFAULT_NODE, NodeName, connect_to_narrator, parse_text
from .console import stderr_console, without_control_characters
from .times import format_span

if TYPE_CHECKING:
    from ..ros.client import Reply

_MAX_TOKENS = settings_of(AskingConfig)["max_answer_tokens"].high


def ask(
    question: Annotated[
        str,
        typer.Argument(help="The question, in plain text.", show_default=False, parser=parse_text),
    ],
    mode: Annotated[
        AnswerMode,
        typer.Option(
            help="Source of the answer. stream: everything in the model's context; recent: only "
            "the newest frames; history: past moments retrieved from disk."
        ),
    ] = AnswerMode.STREAM,
    *,
    node: NodeName = DEFAULT_NODE,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            help="Maximum length of the answer in tokens. Default: the narrator's "
            "max_answer_tokens.",
            min=1,
            max=_MAX_TOKENS,
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds after which the answer is cut off where it is. Default: no limit.",
            min=0.0,
            max=86_400.0,
        ),
    ] = None,
    remember: Annotated[
        bool,
        typer.Option(
            "--remember",
            help="Keep the question and its answer in the model's context (mode stream only).",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object at the end instead of the answer as it comes."
        ),
    ] = False,
) -> None:
    """Ask a running narrator about what it sees, has seen or has said."""
    goal = {
        "question": question,
        "mode": mode.value,
        "max_tokens": max_tokens or 0,
        "timeout": timeout or 0.0,
        "remember": remember,
    }
    console = stderr_console()
    with console.status(f"Asking {node}") as status, connect_to_narrator(node) as client:
        if as_json:
            reply = client.ask(goal, lambda text: None)
        else:
            with AnswerLine(status) as line:
                reply = client.ask(goal, line.add)
                line.complete(reply.answer)
    # Only now: while a status is displayed, rich redirects prints to standard error.
    if as_json:
        print(json.dumps(_record(reply), ensure_ascii=False))
    if not reply.success:
        raise StreamingVLMError(reply.message)
    if reply.message:
        console.print(reply.message, style="yellow", markup=False, soft_wrap=True)
    if console.is_terminal:
        console.print(_basis(reply, date.today()), style="dim", markup=False)


class AnswerLine:
    """An answer printed on standard output as it arrives, on a line of its own."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._text = ""

    def __enter__(self) -> AnswerLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_line()

    def add(self, text: str) -> None:
        """Print the next part of the answer at once."""
        if text:
            self._status.stop()  # the answer takes over its line
            visible = without_control_characters(text) if sys.stdout.isatty() else text
            print(visible, end="", flush=True)
            self._text += text

    def complete(self, answer: str) -> None:
        """Print what is still missing: the complete answer may arrive before its last parts."""
        self.add(answer[len(self._text) :])

    def _end_line(self) -> None:
        if self._text:
            print(flush=True)
            self._text = ""


def _record(reply: Reply) -> dict[str, Any]:
    return {
        "success": reply.success,
        "message": reply.message,
        "answer": reply.answer,
        "seen_from_s": reply.seen_from_ns / NS_PER_S,
        "seen_until_s": reply.seen_until_ns / NS_PER_S,
        "moments_s": [stamp_ns / NS_PER_S for stamp_ns in reply.moments_ns],
        "time_to_first_token_s": round(reply.time_to_first_token_s, 6),
        "tokens": reply.tokens,
    }


def _basis(reply: Reply, today: date) -> str:
    """Return one line: what the answer is based on, its latency and its length."""
    facts = [f"seen {format_span(reply.seen_from_ns, reply.seen_until_ns, today=today)}"]
    if reply.moments_ns:
        facts.append(plural(len(reply.moments_ns), "moment"))
    facts.append(f"first token after {reply.time_to_first_token_s:.2f} s")
    facts.append(plural(reply.tokens, "token"))
    return "  ·  ".join(facts)
