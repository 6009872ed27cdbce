"""Progress of a training run: lines for the terminal and a log of JSON lines."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from transformers import TrainerCallback

from streamingvlm_ros.atomic_write import write_text
from streamingvlm_ros.plural import plural

from .checkpoints import translate_write_errors
from .data import SKIPPED


class Progress(TrainerCallback):
    """Prints step, loss and the time left, and appends them to a file of JSON lines.

    With several processes, the first one reports for all. `skipped` counts clips that this process
    couldn't read.
    """

    def __init__(self, log: Path, skipped: Callable[[], int]) -> None:
        self._log, self._skipped = log, skipped
        self._start_s = time.monotonic()
        self._first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock, and drop the log's lines about steps that will be repeated.

        Raises ModelError, here and later, if the log can't be written.
        """
        self._start_s, self._first_step = time.monotonic(), state.global_step
        if not state.is_world_process_zero:
            return
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        done = [line for line in lines if _step(line) <= state.global_step]
        with translate_write_errors(self._log):
            write_text(self._log, "".join(f"{line}\n" for line in done))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Report each training or validation loss with one line."""
        if not state.is_world_process_zero:
            return
        if logs and "eval_loss" in logs:
            self._write({"step": state.global_step, "validation_loss": float(logs["eval_loss"])})
            print(f"step {state.global_step}  validation loss {logs['eval_loss']:.4f}", flush=True)
        if not logs or "loss" not in logs:
            return
        elapsed_s = time.monotonic() - self._start_s
        done = state.global_step - self._first_step
        left_s = elapsed_s / done * (state.max_steps - state.global_step)
        line = {
            "step": state.global_step,
            "loss": float(logs["loss"]),
            "learning_rate": float(logs["learning_rate"]),
            "elapsed_s": round(elapsed_s, 1),
        }
        self._write(line)
        print(
            f"step {state.global_step}/{state.max_steps}  loss {line['loss']:.4f}  "
            f"{elapsed_s / 60:.1f} min, {left_s / 60:.1f} min left{self._skipped_note(', ')}",
            flush=True,
        )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Repeat the number of skipped clips in the last line."""
        if state.is_world_process_zero and self._skipped():
            print(self._skipped_note(), flush=True)

    def _skipped_note(self, separator: str = "") -> str:
        count = self._skipped()
        return f"{separator}{plural(count, 'clip')} skipped: see {SKIPPED}" if count else ""

    def _write(self, line: dict[str, float]) -> None:
        with translate_write_errors(self._log), self._log.open("a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")


def _step(line: str) -> float:
    """Return the step of a line of the log; infinity if the line isn't JSON.

    A crash may have cut it off, and older versions wrote NaN, which no JSON has.
    """
    try:
        return float(json.loads(line, parse_constant=_reject)["step"])
    except (ValueError, TypeError, KeyError):
        return math.inf


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
