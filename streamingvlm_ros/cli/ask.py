"""`streamingvlm ask`: a question to a running narrator, answered word by word."""

from __future__ import annotations

import json
import sys
import unicodedata
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.status import Status

from ..config import AskingConfig
from ..errors import StreamingVLMError
from ..setting import settings_of
from ..types import NS_PER_S
from .connection import DEFAULT_NODE, NodeName, narrator_at, parse_text
from .times import span_text

if TYPE_CHECKING:
    from ..ros.client import Reply

_MOST_TOKENS = settings_of(AskingConfig)["max_answer_tokens"].high


class Mode(str, Enum):
    """What a question is answered from."""

    STREAM = "stream"
    RECENT = "recent"
    HISTORY = "history"


def ask(
    question: Annotated[
        str, typer.Argument(help="Plain text.", show_default=False, parser=parse_text)
    ],
    mode: Annotated[
        Mode,
        typer.Option(
            help="Answered from what the model has in mind, from the newest frames alone, or from "
            "moments long past."
        ),
    ] = Mode.STREAM,
    node: NodeName = DEFAULT_NODE,
    max_tokens: Annotated[
        int | None,
        typer.Option(help="Most tokens of the answer.", min=1, max=_MOST_TOKENS),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds after which what there is so far is the answer.", min=0.0, max=86_400.0
        ),
    ] = None,
    remember: Annotated[
        bool, typer.Option("--remember", help="The model keeps question and answer in mind.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object at the end instead of words.")
    ] = False,
) -> None:
    """Ask a running narrator what it sees, has seen or has said; the answer comes word by word."""
    goal = {
        "question": question,
        "mode": mode.value,
        "max_tokens": max_tokens or 0,
        "timeout": timeout or 0.0,
        "remember": remember,
    }
    console = Console(stderr=True, highlight=False)
    with console.status(f"Asking {node}") as status, narrator_at(node) as client:
        if as_json:
            reply = client.ask(goal, lambda piece: None)
        else:
            with Line(status) as line:
                reply = client.ask(goal, line.add)
                line.complete(reply.answer)
    # Not above: while a status is shown, rich sends what is printed to the standard error.
    if as_json:
        print(json.dumps(_record(reply), ensure_ascii=False))
    if not reply.success:
        raise StreamingVLMError(reply.message)
    if reply.message:
        console.print(reply.message, style="yellow", markup=False, soft_wrap=True)
    if console.is_terminal:
        console.print(_grounds(reply, date.today()), style="dim", markup=False)


class Line:
    """An answer as it comes, on the standard output, in a line of its own."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._text = ""

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_line()

    def add(self, piece: str) -> None:
        """Show the next piece at once."""
        if piece:
            self._status.stop()  # the line that it stands on is the answer's now
            print(shown(piece) if sys.stdout.isatty() else piece, end="", flush=True)
            self._text += piece

    def complete(self, answer: str) -> None:
        """Show what is missing: the last pieces may come later than the whole answer."""
        self.add(answer[len(self._text) :])

    def _end_line(self) -> None:
        if self._text:
            print(flush=True)
            self._text = ""


def shown(text: str) -> str:
    """A text that can't command a terminal: no control characters but the ends of lines."""
    return "".join(sign for sign in text if sign == "\n" or unicodedata.category(sign) != "Cc")


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


def _grounds(reply: Reply, today: date) -> str:
    """One line: what the answer rests on, and what it took."""
    facts = [f"seen {span_text(reply.seen_from_ns, reply.seen_until_ns, today)}"]
    if reply.moments_ns:
        facts.append(_counted(len(reply.moments_ns), "moment"))
    facts.append(f"first token after {reply.time_to_first_token_s:.2f} s")
    facts.append(_counted(reply.tokens, "token"))
    return "  ·  ".join(facts)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
