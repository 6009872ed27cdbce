"""What is evaluated: recordings, each with a reference, or questions, or both.

The seam for other benchmarks: whatever yields items can be evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..bags.clip import SIDECAR
from ..bags.files import STORAGES
from ..bags.metadata import FILE
from ..errors import EvaluationError

VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".webm")
REFERENCES = (".jsonl", ".vtt", ".srt")
QUESTIONS = ".questions.jsonl"


@dataclass(frozen=True)
class Item:
    """A recording and what it is scored by.

    `camera` is the image topic, None if there is only one. `reference` is a file, or the name of
    a narration topic in the bag.
    """

    name: str
    recording: Path
    camera: str | None = None
    reference: Path | str | None = None
    questions: Path | None = None


def find_items(
    paths: Sequence[Path], camera: str | None, reference: str | None, questions: Path | None
) -> list[Item]:
    """An item for each recording, or recording in a folder, in the order of the paths.

    Without `reference` and `questions` those beside a recording are taken: of `drive.mp4` or the
    bag `drive` they are `drive.jsonl`, `.vtt` or `.srt`, and `drive.questions.jsonl`; of a clip
    that the recorder kept also what it has in it. A `reference` with a leading slash is a topic of
    each bag. EvaluationError if nothing is found.
    """
    recordings = [found for path in paths for found in _recordings(path)]
    if not recordings:
        raise EvaluationError(f"no bag and no video in {', '.join(map(str, paths))}")
    names = [path.stem if path.is_file() else path.name for path in recordings]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise EvaluationError(f"several recordings are called {', '.join(doubled)}: rename them")
    given = None if reference is None else _reference(reference)
    if len(recordings) > 1 and (questions or isinstance(given, Path)):
        raise EvaluationError(
            "one reference or file of questions can't be that of several recordings: put "
            "NAME.jsonl and NAME.questions.jsonl beside each instead"
        )
    return [
        Item(name, path, camera, given or _beside(path, name), questions or _asked(path, name))
        for name, path in zip(names, recordings, strict=True)
    ]


def _recordings(path: Path) -> Iterator[Path]:
    if not path.is_dir() or _is_bag(path):
        yield path
    else:
        for found in sorted(path.iterdir()):
            if found.suffix in VIDEOS or found.name.endswith(STORAGES) or _is_bag(found):
                yield found


def _is_bag(path: Path) -> bool:
    if not path.is_dir():
        return False
    return (path / FILE).exists() or any(p.name.endswith(STORAGES) for p in path.iterdir())


def _reference(given: str) -> Path | str:
    path = Path(given)
    return path if path.suffix in REFERENCES else given


def _beside(path: Path, name: str) -> Path | None:
    candidates = [path.parent / f"{name}{suffix}" for suffix in REFERENCES]
    candidates.append(path / SIDECAR)
    return next((file for file in candidates if file.is_file()), None)


def _asked(path: Path, name: str) -> Path | None:
    file = path.parent / f"{name}{QUESTIONS}"
    return file if file.is_file() else None
