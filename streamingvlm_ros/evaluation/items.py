"""What is evaluated: recordings, each with a reference, or questions, or both.

The seam for other benchmarks: whatever yields items can be evaluated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import EvaluationError
from ..recordings.folder import WORDS, find_recordings, name_of, questions_beside, words_beside


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
    each bag. EvaluationError if nothing is found, or there is no such reference.
    """
    recordings = [found for path in paths for found in find_recordings(path)]
    if not recordings:
        raise EvaluationError(f"no bag and no video in {', '.join(map(str, paths))}")
    names = [name_of(path) for path in recordings]
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
        Item(name, path, camera, given or words_beside(path), questions or questions_beside(path))
        for name, path in zip(names, recordings, strict=True)
    ]


def _reference(given: str) -> Path | str:
    path = Path(given)
    if path.suffix in WORDS and path.is_file():
        return path
    if path.suffix in WORDS and not path.exists():
        raise EvaluationError(f"--reference {given}: there is no such file")
    if given.startswith("/") and not path.exists():
        return given
    raise EvaluationError(
        f"--reference {given} is neither a {', '.join(WORDS)} file nor a narration topic, which "
        "begins with a slash"
    )
