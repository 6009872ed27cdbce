"""The one decode loop: a token for every open turn per pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import ModelError
from .runner import NO_TOKEN, NOT_A_NUMBER, Pass, RowLimits, Runner


@dataclass(eq=False)
class Turn:
    """An assistant turn that is decoded in a row: a narration or an answer.

    `on_token` is called with each token's id and returns whether to go on; `on_done` once, when the
    turn has ended. `complete` is true if the model ended the turn itself.
    """

    row: int
    limits: RowLimits
    on_token: Callable[[int], bool]
    on_done: Callable[[Turn], None]
    ids: list[int] = field(default_factory=list)
    complete: bool = False


class Scheduler:
    """Runs open turns token by token. Nothing else decodes."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._turns: dict[int, Turn] = {}
        self._passes: deque[tuple[Pass, list[Turn]]] = deque()
        # Where a pass asks the host for nothing, the next is launched before this one is read.
        self._ahead = 1 if runner.on_device else 0

    @property
    def busy(self) -> bool:
        """True while a turn is open."""
        return bool(self._turns)

    def is_open(self, turn: Turn) -> bool:
        """Return True until the turn has ended."""
        return self._turns.get(turn.row) is turn

    def open(self, turn: Turn) -> None:
        """Begin a turn whose row has been fed."""
        self._runner.open(turn.row, turn.limits)
        self._turns[turn.row] = turn

    def cancel(self, turn: Turn) -> None:
        """End a turn early: its `on_done` is not called."""
        if self.is_open(turn):
            del self._turns[turn.row]
            self._runner.close(turn.row)

    def step(self) -> None:
        """Run one pass: each open turn gets a token, or ends.

        Raises:
            ModelError: the model computed values that are no numbers; the turn is cancelled.
        """
        if not self._turns:
            return
        self._passes.append((self._runner.decode(), list(self._turns.values())))
        if len(self._passes) > self._ahead:
            self._read(*self._passes.popleft())
        if not self._turns:
            self._passes.clear()  # launched ahead of the end of the last turn

    def _read(self, launched: Pass, turns: list[Turn]) -> None:
        tokens = launched.tokens()
        errors: list[Exception] = []
        for turn in turns:
            if not self.is_open(turn):
                continue
            try:
                self._add(turn, tokens[turn.row])
            except Exception as error:  # the other turns' tokens are in the cache, too
                errors.append(error)
        if errors:
            raise errors[0]

    def _add(self, turn: Turn, token: int) -> None:
        if token == NOT_A_NUMBER:
            self.cancel(turn)
            raise ModelError(
                "the model computes values that are no numbers (NaN or infinity): its weights are "
                "damaged, or float16 is too narrow for them. Set dtype to bfloat16 or float32, or "
                "download the checkpoint again"
            )
        if token == NO_TOKEN:
            turn.complete = True
            return self._end(turn)
        self._runner.grow(turn.row)
        turn.ids.append(token)
        try:
            wanted = turn.on_token(token)
        except Exception:
            self.cancel(turn)
            raise
        if not wanted or len(turn.ids) >= turn.limits.tokens:
            self._end(turn)

    def _end(self, turn: Turn) -> None:
        self.cancel(turn)
        turn.on_done(turn)
