"""Files of annotations, read and written without loss: JSON lines, WebVTT and SRT."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..atomic_write import write_text
from ..errors import WordsError
from . import subtitles
from .annotations import Annotation, AnnotationFile, Utterance, quoted
from .subtitles import SUBTITLES, annotated_spans, split_lines

T = TypeVar("T")

JSON_LINES = ".jsonl"
_BYTE_ORDER_MARK = "\ufeff"


def read_annotations(path: Path) -> AnnotationFile:
    """Read a .jsonl, .vtt or .srt file.

    Raises:
        WordsError: it can't be read or has another ending, a line is not a JSON object, or an .srt
            file has no subtitles.
    """
    if path.suffix not in (JSON_LINES, *SUBTITLES):
        raise WordsError(
            f"can't read annotations from {path}: its name must end in .jsonl, .vtt or .srt"
        )
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise WordsError(f"can't read {path}: {error}") from error
    try:
        return parse_annotations(text, path.suffix)
    except ValueError as error:
        raise WordsError(f"{path}, {error}") from error


def write_annotations(path: Path, file: AnnotationFile) -> None:
    """Write a file. Unchanged annotations keep their spelling. OSError if it can't be written."""
    write_text(path, annotations_text(file))


def read_utterances(path: Path, origin_ns: int | None = None) -> list[Utterance]:
    """Read the reference narration, ordered by time, from a .jsonl, .vtt or .srt file.

    `origin_ns` is the camera's time of second 0; see `Annotation.utterance`.

    Time that no annotation covers is not known to be silent, and an evaluation scores nothing
    there. Training treats gaps between subtitles as silence, its only examples of when to be
    silent (`streamingvlm_training.datasets.cutting`).

    Raises:
        WordsError: the file can't be read.
    """
    utterances = convert(path, lambda annotation: annotation.utterance(origin_ns))
    return sorted(utterances, key=lambda utterance: utterance.start_s)


def convert(path: Path, convert_one: Callable[[Annotation], T]) -> list[T]:
    """Read a file and convert its annotations, in their order.

    `convert_one` raises ValueError for a wrong field and KeyError for one that is missing.

    Raises:
        WordsError: the file can't be read, or an annotation can't be converted.
    """
    converted = []
    for annotation in read_annotations(path).annotations:
        try:
            converted.append(convert_one(annotation))
        except (KeyError, ValueError) as error:
            missing = isinstance(error, KeyError)
            reason = f"`{error.args[0]}` is missing" if missing else str(error)
            raise WordsError(f"{path}, line {annotation.line}: {reason}") from error
    return converted


def parse_annotations(text: str, suffix: str) -> AnnotationFile:
    """Return the annotations of a file's text. ValueError, with the line, for an invalid one."""
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    lines = split_lines(text.removeprefix(mark))
    spans = _json_spans(lines) if suffix == JSON_LINES else annotated_spans(lines, suffix)
    if suffix == ".srt" and not spans:
        raise ValueError("line 1: there are no subtitles")
    annotations, before, previous_end = list[Annotation](), mark, 0
    header = mark
    for number, (begin, end) in enumerate(spans):
        before += "".join(lines[previous_end:begin])
        raw = "".join(lines[begin:end])
        source = raw.rstrip("\r\n")
        if not number:
            header, before = before, ""
        annotations.append(_parse(source, suffix, line=begin + 1, before=before))
        before, previous_end = raw[len(source) :], end
    footer = before + "".join(lines[previous_end:])
    if not spans:
        header, footer = footer, ""
    return AnnotationFile(suffix, tuple(annotations), header, footer)


def annotations_text(file: AnnotationFile) -> str:
    """Return the text of a file. It uses the line ends of the file's header and separators."""
    is_subtitles = file.suffix in SUBTITLES
    written = [file.header or "", *(a.before + a.source for a in file.annotations)]
    newline = "\r\n" if any("\r\n" in part for part in (*written, file.footer or "")) else "\n"
    separator = newline * (2 if is_subtitles else 1)
    default_header = f"WEBVTT{separator}" if file.suffix == ".vtt" else ""
    parts = [default_header if file.header is None else file.header]
    for number, annotation in enumerate(file.annotations):
        parts.append(annotation.before or (separator if number else ""))
        parts.append(_text(annotation, file.suffix, number=number + 1, newline=newline))
    default_footer = newline if file.annotations else ""
    parts.append(default_footer if file.footer is None else file.footer)
    return "".join(parts)


def _text(annotation: Annotation, suffix: str, *, number: int, newline: str) -> str:
    """Return the annotation's own spelling if it is unchanged, otherwise a new one."""
    if annotation.source and _is_spelled(annotation, suffix):
        return annotation.source
    if suffix == JSON_LINES:
        return _json_line(annotation)
    return subtitles.cue_text(annotation, suffix, number=number).replace("\n", newline)


def _is_spelled(annotation: Annotation, suffix: str) -> bool:
    try:
        spelled = _parse(annotation.source, suffix, line=0, before=annotation.before)
    except ValueError:  # read from a file of another format
        return False
    # As JSON, where 1 is neither 1.0 nor true, and the order counts.
    return spelled == annotation and _json_line(spelled) == _json_line(annotation)


def _parse(source: str, suffix: str, *, line: int, before: str) -> Annotation:
    if suffix != JSON_LINES:
        return subtitles.parse_cue(source, suffix, line=line, before=before)
    try:
        fields = json.loads(source)
    except json.JSONDecodeError as error:
        reason = f"invalid JSON at column {error.colno}: {error.msg}"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    else:
        if isinstance(fields, dict):
            return Annotation(fields, before=before, source=source, line=line)
        reason = f"it must be a JSON object, not {quoted(fields)}"
    raise ValueError(f"line {line}: {reason}")


def _json_line(annotation: Annotation) -> str:
    line = json.dumps(dict(annotation.fields), ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # an unpaired surrogate: only an escape can express it
        return json.dumps(dict(annotation.fields))
    return line


def _json_spans(lines: list[str]) -> list[tuple[int, int]]:
    """Yield each line that isn't blank as the span of lines [n, n + 1)."""
    return [(n, n + 1) for n, line in enumerate(lines) if line.strip()]
