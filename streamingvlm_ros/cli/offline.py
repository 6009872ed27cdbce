"""Narration of a recording, shared by `narrate` and `replay`: loading, progress and output."""

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
from ..time_format import clamp, format_clock
from ..types import NS_PER_S, Chunk, Narration
from .console import print_message, print_warning, stderr_console
from .narration_formats import Format, Writer

Write = Callable[[Narration], None]

_TOO_SHORT = "the images end before the first round; rounds start every {:g} s of the camera's time"


def narrate_recording(
    path: Path,
    topic: str | None,
    *,
    settings: Mapping[str, Any],
    format: Format,
    output: Path | None,
) -> None:
    """Narrate one camera of a bag, or a video, to `output` or standard output.

    A setting that is None keeps the checkpoint's own value.
    """
    changes = {name: value for name, value in settings.items() if value is not None}
    console = stderr_console()
    try:
        _narrate(path, topic, changes=changes, format=format, output=output, console=console)
    except OSError as error:
        if output is None or error.filename is not None:
            raise
        raise StreamingVLMError(f"can't write {output}: {error.strerror}") from error
    except KeyboardInterrupt:
        console.print("Stopped. Everything written so far is kept.")
        raise typer.Exit(130) from None


def _narrate(
    path: Path,
    topic: str | None,
    *,
    changes: dict[str, Any],
    format: Format,
    output: Path | None,
    console: Console,
) -> None:
    # transformers warns about details of checkpoint files that users can't change.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # torch takes seconds to import: `--help` and usage errors must not wait for it.
    from .. import session
    from ..config import Settings
    from ..engine.engine import StreamingEngine
    from ..engine.model import checkpoint_settings, resolve
    from ..recordings.bag_sink import check_stamps
    from ..recordings.recording import open_recording

    checkpoint = resolve(changes.get("model", Settings().model.model))
    settings = checkpoint_settings(checkpoint).updated(changes)
    with open_recording(path, topic) as recording:
        start_ns = recording.start_ns(settings.frames)
        check_output(format, output, recording=path)
        if format is Format.BAG:
            check_stamps(recording, settings.frames)
        print_message(console, f"Loading {checkpoint}")
        stream = StreamingEngine.from_pretrained(checkpoint, settings).open_stream()
        rounds = list[Narration]()

        def collect(_: Chunk, narration: Narration) -> None:
            rounds.append(narration)

        with (
            _output_sink(format, output, start_ns=start_ns) as write,
            _progress_sink(console, start_ns, duration_s=recording.duration_s) as advance,
        ):
            session.run(recording.chunks(settings.frames), stream, sinks=[write, advance, collect])
        for subject, reason in (*recording.notes.items(), *recording.losses.items()):
            print_warning(console, subject, reason=reason)
        if not rounds:
            reason = _TOO_SHORT.format(settings.frames.chunk_seconds)
            print_warning(console, "Nothing was narrated", reason=reason)


def check_output(format: Format, output: Path | None, *, recording: Path) -> None:
    """Raise a usage error if the output can't be written or belongs to the recording.

    Changes no existing file.
    """
    if output is None:
        if format is Format.BAG:
            raise typer.BadParameter("format bag needs a folder; name one with --output")
        return
    if _belongs_to(output, recording):
        raise typer.BadParameter(f"--output {output} is the recording itself; name another file")
    if format is Format.BAG:
        if output.exists():
            raise typer.BadParameter(f"{output} already exists; name another folder")
        return
    try:
        output.open("a", encoding="utf-8").close()
    except OSError as error:
        raise typer.BadParameter(f"can't write {output}: {error.strerror}") from error


def _belongs_to(output: Path, recording: Path) -> bool:
    """Return True if `output` is the recording or in it. A file of a bag stands for the bag."""
    from ..bags.metadata import METADATA_FILE

    in_bag = (recording.parent / METADATA_FILE).exists()
    bag = recording.parent if in_bag and not recording.is_dir() else recording
    parts = [bag, *(bag.iterdir() if bag.is_dir() else ())]
    linked = output.exists() and any(p.exists() and output.samefile(p) for p in parts)
    return linked or output.resolve().is_relative_to(bag.resolve())


@contextmanager
def _output_sink(format: Format, output: Path | None, *, start_ns: int) -> Iterator[Sink]:
    """Yield the sink that writes narrations of a recording that starts at `start_ns`.

    It opens the output at the first narration: without one, an existing file stays unchanged.
    """
    with ExitStack() as stack:

        @cache
        def writer() -> Write:
            return _open_output(format, output, start_ns=start_ns, stack=stack)

        yield lambda _, narration: writer()(narration)


def _open_output(format: Format, output: Path | None, *, start_ns: int, stack: ExitStack) -> Write:
    if output is None:
        return Writer(format, start_ns)
    if format is Format.BAG:
        from ..bags.writer import BagConfig, BagWriter
        from ..recordings.bag_sink import BagSink

        return BagSink(stack.enter_context(BagWriter(output, BagConfig())))
    file = stack.enter_context(output.open("w", encoding="utf-8"))
    return Writer(format, start_ns, file)


@contextmanager
def _progress_sink(console: Console, start_ns: int, *, duration_s: float | None) -> Iterator[Sink]:
    """Show a progress bar on standard error; yield the sink that advances it."""
    # On a terminal the bar keeps text above itself; a pipe is left alone.
    terminal = sys.stdout.isatty()
    with Progress(BarColumn(), _Clock(), console=console, redirect_stdout=terminal) as progress:
        task = progress.add_task("", total=duration_s)

        def advance(_: Chunk, narration: Narration) -> None:
            elapsed_s = (narration.end_ns - start_ns) / NS_PER_S
            progress.update(task, completed=clamp(elapsed_s, duration_s))

        yield advance


class _Clock(ProgressColumn):
    """Position in the recording, its length if known, and the speed."""

    def render(self, task: Task) -> Text:
        """Return `0:42 / 3:00  1.8x real time`; no speed before the first round."""
        text = Text(format_clock(task.completed))
        if task.total is not None:
            text.append(f" / {format_clock(task.total)}")
        if task.completed and task.elapsed:
            text.append(f"  {task.completed / task.elapsed:.1f}x real time", style="dim")
        return text
