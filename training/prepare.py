"""Checks what is to be trained on, before any GPU is used: `python -m training.prepare RECIPE`.

Counts clips, time and words; lists videos that are missing, empty or can't be read, words out of
order, labels whose times don't fit the images, clips that would be cut, and files that several
names share; and shows what the first clip teaches. 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import ConfigError, DataError, StreamingVLMError

from .check import Checker, Problem
from .clips import clip_of
from .conversations import Conversations
from .data import readers
from .recipe import DataConfig, read_recipe
from .record import ClipRecord
from .samples import ClipSample

SHOWN = 20
"""Problems that are listed; the same one of many clips is listed once, with a count."""


@dataclass
class Counts:
    """What a part of the data holds, of clips that can be used."""

    clips: int = 0
    seconds: float = 0.0
    words: int = 0
    questions: int = 0
    recordings: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    first: ClipRecord | None = None

    def add(self, clip: ClipRecord) -> None:
        """Count a clip."""
        self.clips += 1
        self.seconds += clip.duration_s
        self.words += sum(len(word.text.split()) for word in clip.words)
        self.questions += len(clip.exchanges) + len(clip.asked)
        self.recordings.add(clip.recording)
        self.first = self.first or clip


def count(parts: Sequence[Sequence[ClipRecord]], settings: Settings) -> Counts:
    """Read and check every clip."""
    counts, checker = Counts(), Checker(settings.frames)
    clips, total = _clips(parts, counts), sum(map(len, parts))
    for clip in track(clips, "checking", total=total, console=_ERRORS, transient=True):
        problems = list(checker.problems(clip))
        counts.problems += problems
        if all(problem.usable for problem in problems):
            counts.add(clip)
    counts.problems += _shared(parts)
    return counts


def told(sample: ClipSample) -> Iterator[str]:
    """A clip in words, a line for each round."""
    if sample.previous:
        yield f"previous text: {' '.join(sample.previous)}"
    if sample.instruction:
        yield f"instruction: {sample.instruction}"
    for its in sample.rounds:
        height, width, _ = its.images[0].shape
        asked = f" {its.question} -> {its.answer}" if its.question else ""
        frames = f"{len(its.images)} frames of {width} x {height}"
        yield f"{its.start_s:.1f}-{its.end_s:.1f} s, {frames}:{asked} {its.text or '(silent)'} ..."
    for question, answer in sample.asked:
        yield f"asked at the end: {question} -> {answer}"


def _clips(parts: Sequence[Sequence[ClipRecord]], counts: Counts) -> Iterator[ClipRecord]:
    for part in parts:
        for index in range(len(part)):
            try:
                yield part[index]
            except DataError as error:
                counts.problems.append(Problem("", str(error), usable=False))


def _shared(parts: Iterable[Sequence[ClipRecord]]) -> Iterator[Problem]:
    for part in parts:
        if isinstance(part, Conversations):
            for path, names in part.videos.shared.items():
                some = ", ".join(sorted(names)[:2])
                what = (
                    f"{path} stands for {len(names)} videos, such as {some}: all but one were "
                    "overwritten when folders were flattened; fetch them anew"
                )
                yield Problem(str(part.path), what, usable=False)


def prepare(recipe_path: Path) -> int:
    """Check a recipe's data and print what was found; the exit code."""
    recipe = read_recipe(recipe_path)
    if recipe.data is None:
        raise ConfigError(f"{recipe_path} learns from the synthetic world: nothing to check")
    table = Table("", "clips", "hours", "words", "questions", "recordings", box=None)
    parts = {name: _part(recipe.data, name, recipe.settings) for name in ("train", "validation")}
    for name, its in parts.items():
        hours = f"{its.seconds / 3600:.2f}"
        figures = (its.clips, hours, its.words, its.questions, len(its.recordings))
        table.add_row(name, *map(str, figures))
    _OUTPUT.print(table)
    both = parts["train"].recordings & parts["validation"].recordings
    problems = [problem for its in parts.values() for problem in its.problems]
    problems += [
        Problem("", f"{path} is in training and validation", usable=True) for path in sorted(both)
    ]
    _list(problems)
    if first := parts["train"].first:
        _OUTPUT.print(f"\nThe first clip ({first.origin}):", markup=False)
        for line in told(clip_of(first, recipe.settings.frames)):
            _OUTPUT.print(f"  {line}", markup=False, soft_wrap=True)
    return 1 if problems or not parts["train"].clips else 0


def _part(data: DataConfig, name: str, settings: Settings) -> Counts:
    return count(readers(getattr(data, name), data.videos, settings), settings)


def _list(problems: Sequence[Problem]) -> None:
    """Each problem once, the most frequent first."""
    alike = Counter(problem.what for problem in problems)
    where = {problem.what: problem for problem in reversed(problems)}
    for what, times in alike.most_common(SHOWN):
        its = where[what]
        effect = "" if its.usable else "left out: "
        more = f" (and {times - 1} more)" if times > 1 else ""
        origin = f"{its.origin}: " if its.origin else ""
        _OUTPUT.print(f"{effect}{origin}{what}{more}", markup=False, soft_wrap=True)
    if len(alike) > SHOWN:
        _OUTPUT.print(f"and {len(alike) - SHOWN} other problems")


_OUTPUT, _ERRORS = Console(highlight=False), Console(stderr=True, highlight=False)


def main(arguments: list[str] | None = None) -> int:
    """The command line; 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m training.prepare", description=__doc__)
    parser.add_argument("recipe", type=Path)
    try:
        return prepare(parser.parse_args(arguments).recipe)
    except StreamingVLMError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
