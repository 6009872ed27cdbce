"""Check the training data on a CPU: `python -m streamingvlm_training.prepare RECIPE`.

Counts clips, time and words; lists videos that are missing, empty or can't be read, words out of
order, labels whose times don't fit the images, clips that would be cut, and files that several
names share; and shows what the first clip teaches. 1 if something is wrong. Processes of torchrun
share the work.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from streamingvlm_ros.config import Settings
from streamingvlm_ros.errors import ConfigError, StreamingVLMError
from streamingvlm_ros.rank import Rank, process_rank

from .data import check_paths, sources
from .data_report import Counts, count, total
from .datasets.check import Problem
from .datasets.clips import clip_of
from .distributed import gathered, together
from .recipe import DataConfig, Recipe, read_recipe
from .samples import ClipSample

SIDES = ("train", "validation")
SHOWN = 20
"""Problems that are listed; one kind of many clips of a recording is listed once, with a count."""


def in_words(sample: ClipSample) -> Iterator[str]:
    """A line for each round of a clip."""
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


def prepare(recipe_path: Path, rank: Rank) -> int:
    """Check a recipe's data, with other processes; the first prints what all found.

    The exit code.
    """
    recipe = read_recipe(recipe_path)
    if recipe.data is None:
        raise ConfigError(f"{recipe_path} learns from the synthetic world: nothing to check")
    with together(rank):
        found = gathered(_tried(recipe, recipe.data, rank), rank)
    if rank.number:
        return 0
    shares = []
    for its in found:
        if isinstance(its, StreamingVLMError):
            raise its
        shares.append(its)
    train, validation = (
        total(sources(getattr(recipe.data, name)), [its[name] for its in shares]) for name in SIDES
    )
    return _report(train, validation, recipe.settings)


def _tried(
    recipe: Recipe, data: DataConfig, rank: Rank
) -> dict[str, dict[Path, Counts]] | StreamingVLMError:
    """What this process found, or why nothing can be found: others wait to hear of it."""
    try:
        check_paths(recipe)
        return {
            name: count(
                sources(getattr(data, name)), data.videos, recipe.settings, rank, data.topic
            )
            for name in SIDES
        }
    except StreamingVLMError as error:
        return error


def _report(train: Counts, validation: Counts, settings: Settings) -> int:
    table = Table("", "clips", "hours", "words", "questions", "recordings", box=None)
    for name, its in zip(SIDES, (train, validation), strict=True):
        hours = f"{its.seconds / 3600:.2f}"
        figures = (its.clips, hours, its.words, its.questions, len(its.recordings))
        table.add_row(name, *map(str, figures))
    _OUTPUT.print(table)
    if not validation.clips:
        _OUTPUT.print("nothing to validate with")
    problems = [*train.problems, *validation.problems]
    problems += [
        Problem("on both sides", str(path), str(path), "is in training and validation", usable=True)
        for path in sorted(train.recordings & validation.recordings)
    ]
    _list(problems)
    if train.first:
        _OUTPUT.print(f"\nThe first clip ({train.first.origin}):", markup=False)
        for line in in_words(clip_of(train.first, settings.frames)):
            _OUTPUT.print(f"  {line}", markup=False, soft_wrap=True)
    return 1 if problems or not train.clips else 0


def _list(problems: Sequence[Problem]) -> None:
    """The first of each kind in each recording, the most frequent first."""
    alike = Counter((its.kind, its.recording) for its in problems)
    first = {(its.kind, its.recording): its for its in reversed(problems)}
    listed = alike.most_common()
    for group, times in listed[:SHOWN]:
        its = first[group]
        effect = "" if its.usable else "left out: "
        more = f" (and {times - 1} more)" if times > 1 else ""
        _OUTPUT.print(f"{effect}{its.origin}: {its.what}{more}", markup=False, soft_wrap=True)
    others = Counter(kind for (kind, _), _ in listed[SHOWN:])
    if others:
        kinds = ", ".join(f"{times} {kind}" for kind, times in others.most_common())
        _OUTPUT.print(f"and {sum(others.values())} other problems: {kinds}", soft_wrap=True)


_OUTPUT = Console(highlight=False)


def main(arguments: list[str] | None = None) -> int:
    """The command line; 1 when something is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m streamingvlm_training.prepare", description=__doc__
    )
    parser.add_argument("recipe", type=Path)
    try:
        return prepare(parser.parse_args(arguments).recipe, process_rank())
    except StreamingVLMError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
