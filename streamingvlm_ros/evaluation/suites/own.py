"""Recordings with label files beside them: the project's own layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import EvaluationError, WordsError
from ...file_hash import sha256_of
from ...recordings.annotation_files import read_utterances
from ...recordings.annotations import Utterance, utterances_of
from ...recordings.folder import (
    ANNOTATION_SUFFIXES,
    CONVERSION,
    annotations_beside,
    find_recordings,
    name_of,
    questions_beside,
)
from ...recordings.questions import read_questions
from ...recordings.recording import Recording, is_bag
from ..items import (
    Fingerprints,
    Item,
    Labels,
    LabelSource,
    ScoredQuestion,
    SuiteArguments,
)


@dataclass(frozen=True)
class LabelFiles:
    """Labels in files. `reference` is a file, or the name of a narration topic in the bag."""

    recording: Path
    reference: Path | str | None = None
    questions: Path | None = None

    def fingerprints(self) -> Fingerprints:
        """Identify the files by their paths and contents, a topic by its name."""
        return Fingerprints(_fingerprint(self.reference), _fingerprint(self.questions))

    def read(self, recording: Recording, *, start_ns: int, chunk_s: float) -> Labels:
        """Read the files. WordsError or BagError if that fails."""
        questions = read_questions(self.questions) if self.questions else []
        reference, problems = list[Utterance](), list[str]()
        match self.reference:
            case Path() as file:
                reference = read_utterances(
                    file,
                    start_ns if is_bag(self.recording) else None,
                    chunk_s=chunk_s,
                    report=problems.append,
                )
            case str(topic):
                reference = utterances_of(recording.narrations(topic), start_ns)
        return Labels(
            tuple(reference),
            tuple(map(ScoredQuestion, questions)),
            losses={str(self.reference): "; ".join(problems)} if problems else {},
        )


@dataclass(frozen=True)
class UnusableLabels:
    """Labels that can't be read, and why. Their recording is skipped, the others are not."""

    reason: str

    def fingerprints(self) -> Fingerprints:
        """Identify the labels by the reason."""
        return Fingerprints(self.reason, None)

    def read(self, recording: Recording, *, start_ns: int, chunk_s: float) -> Labels:
        """Raise WordsError."""
        raise WordsError(self.reason)


def find_items(arguments: SuiteArguments) -> list[Item]:
    """Return an item for each recording, or recording in a folder, in the order of the paths.

    Without overrides the files beside a recording are its labels: for `drive.mp4` or the bag
    `drive`, `drive.jsonl`, `.vtt` or `.srt`, and `drive.questions.jsonl`. A saved clip also brings
    the file inside it. A `reference` with a leading slash is a topic of each bag.

    Raises:
        EvaluationError: There is no recording or no such reference, or names are ambiguous.
    """
    recordings = [path for folder in arguments.paths for path in find_recordings(folder)]
    if not recordings:
        raise EvaluationError(f"no bag and no video in {', '.join(map(str, arguments.paths))}")
    names = [name_of(path) for path in recordings]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise EvaluationError(f"several recordings are called {', '.join(duplicates)}: rename them")
    reference = None if arguments.reference is None else _parse_reference(arguments.reference)
    if len(recordings) > 1 and (arguments.questions or isinstance(reference, Path)):
        raise EvaluationError(
            "one reference or questions file can't serve several recordings; put NAME.jsonl and "
            "NAME.questions.jsonl beside each instead"
        )
    return [
        Item(name, path, _labels(path, reference, questions=arguments.questions), arguments.camera)
        for name, path in zip(names, recordings, strict=True)
    ]


def _labels(path: Path, reference: Path | str | None, *, questions: Path | None) -> LabelSource:
    try:
        beside = reference or annotations_beside(path)
    except WordsError as error:
        return UnusableLabels(str(error))
    return LabelFiles(path, beside, questions or questions_beside(path))


def _parse_reference(text: str) -> Path | str:
    """Return a file, or the text itself if it is a topic."""
    path = Path(text)
    is_labels = path.suffix.lower() in ANNOTATION_SUFFIXES
    if is_labels and path.is_file():
        return path
    if is_labels and not path.exists():
        raise EvaluationError(f"--reference {text}: there is no such file")
    if text.startswith("/") and not path.exists():
        return text
    raise EvaluationError(
        f"--reference {text} is neither a {', '.join(ANNOTATION_SUFFIXES)} file nor a narration "
        f"topic, which begins with a slash; {CONVERSION}"
    )


def _fingerprint(source: Path | str | None) -> str | None:
    """Include a file's content, so that a corrected file has another fingerprint."""
    if not isinstance(source, Path):
        return source
    try:
        return f"{source} {sha256_of([source])[:16]}"
    except OSError as error:  # reading it fails again, and that skips the recording
        return f"{source} {error.strerror}"
