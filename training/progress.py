"""What a training run says while it runs: a line to read, and the same in a file to keep."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from streamingvlm_ros.atomic_write import write_text

from .checkpoints import writing
from .data import SKIPPED


class Progress(TrainerCallback):
    """Prints step, loss and the time left, and appends them to a file of JSON lines.

    Of several processes the first does, for all of them; `skipped` are clips that it couldn't
    read itself.
    """

    def __init__(self, log: Path, skipped: Callable[[], int]) -> None:
        self._log, self._skipped = log, skipped
        self._began_s = time.monotonic()
        self._first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Time counts from here. What the log says of steps that are done again goes.

        ModelError, here and later, if the log can't be written.
        """
        self._began_s, self._first_step = time.monotonic(), state.global_step
        if not state.is_world_process_zero:
            return
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        done = [line for line in lines if _step(line) <= state.global_step]
        with writing(self._log):
            write_text(self._log, "".join(f"{line}\n" for line in done))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """One line per report that holds a loss, of training or of validation."""
        if not state.is_world_process_zero:
            return
        if logs and "eval_loss" in logs:
            self._write({"step": state.global_step, "validation_loss": float(logs["eval_loss"])})
            print(f"step {state.global_step}  validation loss {logs['eval_loss']:.4f}", flush=True)
        if not logs or "loss" not in logs:
            return
        elapsed_s = time.monotonic() - self._began_s
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
            f"{elapsed_s / 60:.1f} min, {left_s / 60:.1f} min left{self._left_out(', ')}",
            flush=True,
        )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Clips that were skipped are told once more, where the eye stays."""
        if state.is_world_process_zero and self._skipped():
            print(self._left_out(), flush=True)

    def _left_out(self, before: str = "") -> str:
        count = self._skipped()
        clips = "clip" if count == 1 else "clips"
        return f"{before}{count} {clips} skipped: see {SKIPPED}" if count else ""

    def _write(self, line: dict[str, float]) -> None:
        with writing(self._log), self._log.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _step(line: str) -> float:
    """Of a line of the log; infinite if a crash left only its beginning."""
    try:
        return json.loads(line)["step"]
    except (ValueError, TypeError, KeyError):
        return math.inf
