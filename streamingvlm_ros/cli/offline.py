"""What `narrate` and `replay` share: loading, the progress bar and the output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.text import Text

from ..errors import StreamingVLMError
from ..session import Sink
from ..time_format import clamp
from ..types import NS_PER_S, Chunk, Narration
from .evaluation_output import warn
from .narration_formats import Format, Writer, format_clock

Write = Callable[[Narration], None]

_TOO_SHORT = (
    "the images end before a whole round has begun; rounds begin every {:g} s of the camera's time"
)


def narrate_recording(
    path: Path,
    topic: str | None,
    given: Mapping[str, Any],
    format: Format,
    output: Path | None,
) -> None:
    """Narrate a bag's camera or a video to `output` or the terminal.

    `given` are settings, None where the checkpoint's own hold.
    """
    changes = {name: value for name, value in given.items() if value is not None}
    console = Console(stderr=True, highlight=False)
    try:
        _narrate(path, topic, changes, format, output, console)
    except OSError as error:
        if output is None or error.filename is not None:
            raise
        raise StreamingVLMError(f"can't write {output}: {error.strerror}") from error
    except KeyboardInterrupt:
        console.print("Stopped. What was written so far is kept.")
        raise typer.Exit(130) from None


def _narrate(
    path: Path,
    topic: str | None,
    changes: dict[str, Any],
    format: Format,
    output: Path | None,
    console: Console,
) -> None:
    # Its warnings are about how checkpoints are written down: nothing for who has a video.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # torch takes seconds to import: not before `--help` and usage errors have been dealt with.
    from .. import session
    from ..config import Settings, settings_for
    from ..engine.engine import StreamingEngine
    from ..engine.qwen2_5.checkpoint import resolve
    from ..recordings.recording import open_recording

    checkpoint = resolve(changes.get("model", Settings().model.model))
    settings = settings_for(checkpoint).updated(changes)
    with open_recording(path, topic) as recording:
        start_ns = recording.start_ns(settings.frames)
        check_output(format, output, path)
        console.print(f"Loading {checkpoint}", soft_wrap=True)
        stream = StreamingEngine.from_pretrained(checkpoint, settings).open_stream()
        rounds = list[Narration]()

        def keep(_: Chunk, narration: Narration) -> None:
            rounds.append(narration)

        with (
            _sink(format, output, start_ns) as write,
            _bar(console, start_ns, duration_s=recording.duration_s) as advance,
        ):
            session.run(recording.chunks(settings.frames), stream, [write, advance, keep])
        for what, why in recording.losses.items():
            warn(console, what, why)
        if not rounds:
            warn(console, "Nothing was narrated", _TOO_SHORT.format(settings.frames.chunk_seconds))


def check_output(format: Format, output: Path | None, path: Path) -> None:
    """A usage error if the output can't be written, or is what is read. Costs nobody a file."""
    if output is None:
        if format is Format.BAG:
            raise typer.BadParameter("a bag needs a folder: name one with --output")
        return
    if _is_part(output, path):
        raise typer.BadParameter(f"--output {output} is the recording itself: name another file")
    if format is Format.BAG:
        if output.exists():
            raise typer.BadParameter(f"{output} is there already: name another folder")
        return
    try:
        output.open("a", encoding="utf-8").close()
    except OSError as error:
        raise typer.BadParameter(f"can't write {output}: {error.strerror}") from error


def _is_part(output: Path, recording: Path) -> bool:
    """Whether an output is a recording, or in it: a file of a bag stands for the whole bag."""
    from ..bags.metadata import FILE

    in_bag = (recording.parent / FILE).exists()
    bag = recording.parent if in_bag and not recording.is_dir() else recording
    parts = [bag, *(bag.iterdir() if bag.is_dir() else ())]
    linked = output.exists() and any(p.exists() and output.samefile(p) for p in parts)
    return linked or output.resolve().is_relative_to(bag.resolve())


@contextmanager
def _sink(format: Format, output: Path | None, start_ns: int) -> Iterator[Sink]:
    """What writes narrations, of a recording that begins at `start_ns`.

    Only the first one opens the output: where none is made, what is there stays.
    """
    with ExitStack() as stack:

        @cache
        def write() -> Write:
            return _opened(format, output, start_ns, stack)

        yield lambda _, narration: write()(narration)


def _opened(format: Format, output: Path | None, start_ns: int, stack: ExitStack) -> Write:
    if output is None:
        return Writer(format, start_ns)
    if format is Format.BAG:
        from ..bags.writer import BagConfig, BagWriter
        from ..recordings.bag_sink import BagSink

        return BagSink(stack.enter_context(BagWriter(output, BagConfig())))
    file = stack.enter_context(output.open("w", encoding="utf-8"))
    return Writer(format, start_ns, file)


@contextmanager
def _bar(console: Console, start_ns: int, *, duration_s: float | None) -> Iterator[Sink]:
    """A progress bar on the standard error; yields the sink that moves it."""
    # Text that goes to the same terminal is lifted above the bar; a pipe is left alone.
    lift = sys.stdout.isatty()
    with Progress(BarColumn(), _Clock(), console=console, redirect_stdout=lift) as progress:
        task = progress.add_task("", total=duration_s)

        def advance(_: Chunk, narration: Narration) -> None:
            seen_s = (narration.end_ns - start_ns) / NS_PER_S
            progress.update(task, completed=clamp(seen_s, duration_s))

        yield advance


class _Clock(ProgressColumn):
    """How far into the recording, of how much if that is known, and how fast."""

    def render(self, task: Task) -> Text:
        """`0:42 / 3:00  1.8x real time`; no pace before the first round."""
        text = Text(format_clock(task.completed))
        if task.total is not None:
            text.append(f" / {format_clock(task.total)}")
        if task.completed and task.elapsed:
            text.append(f"  {task.completed / task.elapsed:.1f}x real time", style="dim")
        return text
