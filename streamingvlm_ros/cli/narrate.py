"""`streamingvlm narrate`: a video file to narration. Needs no ROS."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.text import Text

from ..errors import StreamingVLMError
from ..session import Sink
from ..types import NS_PER_S
from .options import setting_option
from .writers import Format, Writer, clock


def narrate(
    video: Annotated[
        Path,
        typer.Argument(help="The video file.", exists=True, dir_okay=False, show_default=False),
    ],
    model: Annotated[str | None, setting_option("model")] = None,
    format: Annotated[Format, typer.Option(help="How to write.")] = Format.TEXT,
    output: Annotated[
        Path | None,
        typer.Option(help="File to write to instead of the terminal.", show_default=False),
    ] = None,
    fps: Annotated[float | None, setting_option("fps")] = None,
    instruction: Annotated[str | None, setting_option("instruction")] = None,
    previous_text: Annotated[str | None, setting_option("previous_text")] = None,
    temperature: Annotated[float | None, setting_option("temperature")] = None,
    seed: Annotated[int | None, setting_option("seed")] = None,
) -> None:
    """Narrate a video file, second by second: as text, JSON lines or WebVTT subtitles."""
    given = {
        "model": model,
        "fps": fps,
        "instruction": instruction,
        "previous_text": previous_text,
        "temperature": temperature,
        "seed": seed,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    console = Console(stderr=True, highlight=False)
    try:
        _narrate(video, changes, format, output, console)
    except OSError as error:
        if output is None:
            raise
        raise StreamingVLMError(f"can't write {output}: {error.strerror}") from error
    except KeyboardInterrupt:
        console.print("Stopped. What was written so far is kept.")
        raise typer.Exit(130) from None


def _narrate(
    video: Path, changes: dict[str, Any], format: Format, output: Path | None, console: Console
) -> None:
    # Its warnings are about how checkpoints are written down: nothing for who has a video.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # torch takes seconds to import: not before `--help` and usage errors have been dealt with.
    from .. import session
    from ..config import Settings, settings_for
    from ..engine.engine import StreamingEngine
    from ..engine.model import resolve
    from ..frames.sources import VideoSource

    if output and output.exists() and output.samefile(video):
        raise typer.BadParameter(f"--output {output} is the video itself: name another file")
    checkpoint = resolve(changes.get("model", Settings().model.model))
    settings = settings_for(checkpoint).updated(changes)
    source = VideoSource(video, settings.frames)
    with _opened(output, "a"):
        pass  # it can be written, and what is in it is lost only when the model is there
    console.print(f"Loading {checkpoint}", soft_wrap=True)
    stream = StreamingEngine.from_pretrained(checkpoint, settings).open_stream()
    with _opened(output, "w") as file, _bar(console, source.duration_s) as advance:
        session.run(source, stream, [Writer(format, file), advance])


def _opened(output: Path | None, mode: Literal["a", "w"]) -> AbstractContextManager[TextIO | None]:
    """The file to write to, or None for the terminal. A usage error if it can't be written."""
    if output is None:
        return nullcontext()
    try:
        return output.open(mode, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"can't write {output}: {error.strerror}") from error


@contextmanager
def _bar(console: Console, duration_s: float | None) -> Iterator[Sink]:
    """A progress bar on the standard error; yields the sink that moves it."""
    # Text that goes to the same terminal is lifted above the bar; a pipe is left alone.
    lift = sys.stdout.isatty()
    with Progress(BarColumn(), _Clock(), console=console, redirect_stdout=lift) as progress:
        task = progress.add_task("", total=duration_s)
        yield lambda narration: progress.update(task, completed=narration.end_ns / NS_PER_S)


class _Clock(ProgressColumn):
    """How far into the video, of how much if that is known, and how fast."""

    def render(self, task: Task) -> Text:
        """`0:42 / 3:00  1.8x real time`; no pace before the first round."""
        text = Text(clock(task.completed))
        if task.total is not None:
            text.append(f" / {clock(task.total)}")
        if task.completed and task.elapsed:
            text.append(f"  {task.completed / task.elapsed:.1f}x real time", style="dim")
        return text
