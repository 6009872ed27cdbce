"""Check training data on a CPU: `python -m streamingvlm_training.prepare RECIPE`.

Counts clips, time and words. Lists videos that are missing, empty or unreadable, words out of
order, labels whose times don't fit the images, clips that would be cut, and files that several
names share. Shows the first clip as it is trained on. The exit code is 1 if anything is wrong.
Processes of torchrun share the work.
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
from streamingvlm_ros.recordings.skipping import skip_reason

from .data import check_paths, find_sources, print_skipped
from .data_report import Counts, count_data, merge_counts
from .datasets.check import Problem
from .datasets.clips import clip_of
from .datasets.record import ClipRecord
from .distributed import gather, process_group
from .recipe import DataConfig, Recipe, read_recipe
from .samples import ClipSample

SPLITS = ("train", "validation")
MAX_LISTED = 20
"""Number of problems that are listed. A kind that a recording has many times is listed once."""

_OUTPUT = Console(highlight=False)


def describe_clip(sample: ClipSample) -> Iterator[str]:
    """Yield a line of text for each round of a clip."""
    if sample.previous:
        yield f"previous text: {' '.join(sample.previous)}"
    if sample.instruction:
        yield f"instruction: {sample.instruction}"
    for round in sample.rounds:
        height, width, _ = round.images[0].shape
        frames = f"{len(round.images)} frames of {width} x {height}"
        exchange = f" {round.question} -> {round.answer}" if round.question else ""
        span = f"{round.start_s:.1f}-{round.end_s:.1f} s"
        yield f"{span}, {frames}:{exchange} {round.text or '(silent)'} ..."
    for question, answer in sample.questions:
        yield f"asked at the end: {question} -> {answer}"


def prepare(recipe_path: Path, rank: Rank) -> int:
    """Check a recipe's data, together with other processes, and return the exit code.

    The first process prints the report of all.
    """
    recipe = read_recipe(recipe_path)
    if recipe.data is None:
        raise ConfigError(f"{recipe_path} has no data to check: it trains on the synthetic world")
    with process_group(rank):
        results = gather(_count_or_error(recipe, recipe.data, rank=rank), rank)
    if rank.number:
        return 0
    shares = []
    for result in results:
        if isinstance(result, StreamingVLMError):
            raise result
        shares.append(result)
    train, validation = (
        merge_counts(find_sources(getattr(recipe.data, split)), [share[split] for share in shares])
        for split in SPLITS
    )
    return _report(train, validation, settings=recipe.settings)


def _count_or_error(
    recipe: Recipe, data: DataConfig, *, rank: Rank
) -> dict[str, dict[Path, Counts]] | StreamingVLMError:
    """Return the counts of each split, or the error: the other processes wait for a result."""
    try:
        check_paths(recipe)
        print_skipped([*data.train, *data.validation])
        return {
            split: count_data(
                find_sources(getattr(data, split)),
                data.videos,
                settings=recipe.settings,
                rank=rank,
                topic=data.topic,
            )
            for split in SPLITS
        }
    except StreamingVLMError as error:
        return error


def _report(train: Counts, validation: Counts, *, settings: Settings) -> int:
    table = Table("", "clips", "hours", "words", "questions", "recordings", box=None)
    for split, counts in zip(SPLITS, (train, validation), strict=True):
        hours = f"{counts.seconds / 3600:.2f}"
        figures = (counts.clips, hours, counts.words, counts.questions, len(counts.recordings))
        table.add_row(split, *map(str, figures))
    _OUTPUT.print(table)
    if not validation.clips:
        _OUTPUT.print("nothing to validate with")
    problems = [*train.problems, *validation.problems]
    problems += [
        Problem("on both sides", str(path), str(path), "is in training and validation", usable=True)
        for path in sorted(train.recordings & validation.recordings)
    ]
    _list_problems(problems)
    shown = train.first_clip is not None and _show_clip(train.first_clip, settings)
    return 1 if problems or not shown else 0


def _show_clip(record: ClipRecord, settings: Settings) -> bool:
    """Print a clip as it is trained on; return False if its frames can't be decoded."""
    _OUTPUT.print(f"\nThe first clip ({record.origin}):", markup=False)
    try:
        lines, is_readable = list(describe_clip(clip_of(record, settings.frames))), True
    except Exception as error:  # a decoder can fail in any way
        lines, is_readable = [f"can't be read: {skip_reason(error)}"], False
    for line in lines:
        _OUTPUT.print(f"  {line}", markup=False, soft_wrap=True)
    return is_readable


def _list_problems(problems: Sequence[Problem]) -> None:
    """Print the first problem of each kind and recording, the most frequent first."""
    counts = Counter((problem.kind, problem.recording) for problem in problems)
    first = {(problem.kind, problem.recording): problem for problem in reversed(problems)}
    by_frequency = counts.most_common()
    for group, count in by_frequency[:MAX_LISTED]:
        problem = first[group]
        effect = "" if problem.usable else "left out: "
        more = f" (and {count - 1} more)" if count > 1 else ""
        line = f"{effect}{problem.origin}: {problem.what}{more}"
        _OUTPUT.print(line, markup=False, soft_wrap=True)
    others = Counter(kind for (kind, _), _ in by_frequency[MAX_LISTED:])
    if others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common())
        _OUTPUT.print(f"and {sum(others.values())} other problems: {kinds}", soft_wrap=True)


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m streamingvlm_training.prepare", description=__doc__
    )
    parser.add_argument("recipe", type=Path, help="YAML file with a data section")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if anything is wrong."""
    recipe = command_parser().parse_args(arguments).recipe
    try:
        return prepare(recipe, process_rank())
    except StreamingVLMError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
