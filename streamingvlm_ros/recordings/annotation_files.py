"""Files of annotations, read and written without loss: JSON lines, WebVTT and SRT."""

from __future__ import annotations

import codecs
import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ..atomic_write import write_text
from ..errors import WordsError
from ..plural import plural
from . import subtitles
from .annotations import Annotation, AnnotationFile, Utterance, quoted
from .cues import Cues, split_lines
from .folder import CONVERSION
from .subtitles import SUBTITLES

T = TypeVar("T")

JSON_LINES = ".jsonl"
_BYTE_ORDER_MARK = "\ufeff"
_MAX_BYTES = 256 * 2**20
"""Size of an annotation file, far above the words of a week."""
_MAX_LISTED = 5
"""Number of lines that a message lists."""


def read_annotations(path: Path) -> AnnotationFile:
    """Read a .jsonl, .vtt or .srt file.

    Raises:
        WordsError: it can't be read or has another ending, a line is not a JSON object, a .vtt
            file has no signature, or an .srt file has no subtitles.
    """
    suffix = path.suffix.lower()
    if suffix not in (JSON_LINES, *SUBTITLES):
        raise WordsError(
            f"can't read annotations from {path}: its name must end in .jsonl, .vtt or .srt; "
            f"{CONVERSION}"
        )
    text = _read_text(path)
    try:
        return parse_annotations(text, suffix)
    except Exception as error:  # one file must not end a run of many recordings
        raise WordsError(f"{path}, {_reason(error)}") from error


def write_annotations(path: Path, file: AnnotationFile) -> None:
    """Write a file. Unchanged annotations keep their spelling.

    Raises:
        OSError: it can't be written.
        ValueError: subtitles can't express a time.
    """
    write_text(path, annotations_text(file))


def read_utterances(
    path: Path,
    origin_ns: int | None = None,
    *,
    chunk_s: float = 1.0,
    report: Callable[[str], None] = lambda problem: None,
) -> list[Utterance]:
    """Read the reference narration, ordered by time, from a .jsonl, .vtt or .srt file.

    `origin_ns` is the camera's time of second 0; see `Annotation.utterance`. A cue without length
    holds until the next one, at most `chunk_s`. `report` is called with everything that was left
    out or changed.

    Time that no annotation covers is not known to be silent, and an evaluation scores nothing
    there. Training treats gaps between subtitles as silence, its only examples of when to be
    silent (`streamingvlm_training.datasets.cutting`).

    Raises:
        WordsError: the file can't be read.
    """
    file = read_annotations(path)
    for problem in file.problems:
        report(problem)
    if file.suffix in SUBTITLES:
        return _cue_utterances(file.annotations, chunk_s, report=report)
    utterances = _convert(path, file, convert_one=lambda line: line.utterance(origin_ns))
    return sorted(utterances, key=lambda utterance: utterance.start_s)


def convert(path: Path, convert_one: Callable[[Annotation], T]) -> list[T]:
    """Read a file and convert its annotations, in their order.

    `convert_one` raises ValueError for a wrong field and KeyError for one that is missing.

    Raises:
        WordsError: the file can't be read, or an annotation can't be converted.
    """
    return _convert(path, read_annotations(path), convert_one=convert_one)


def parse_annotations(text: str, suffix: str) -> AnnotationFile:
    """Return the annotations of a file's text. ValueError, with the line, for an invalid one."""
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    lines = split_lines(text.removeprefix(mark))
    cues = Cues(_json_spans(lines)) if suffix == JSON_LINES else subtitles.find_cues(lines, suffix)
    spans = cues.spans
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
    return AnnotationFile(suffix, tuple(annotations), header, footer, tuple(cues.problems))


def annotations_text(file: AnnotationFile) -> str:
    """Return the text of a file. It uses the line ends of the file's header and separators."""
    is_subtitles = file.suffix in SUBTITLES
    written = [file.header or "", *(a.before + a.source for a in file.annotations)]
    newline = "\r\n" if any("\r\n" in part for part in (*written, file.footer or "")) else "\n"
    separator = newline * (2 if is_subtitles else 1)
    default_header = subtitles.new_header(file.suffix) if is_subtitles else ""
    parts = [default_header if file.header is None else file.header]
    for number, annotation in enumerate(file.annotations):
        parts.append(annotation.before or (separator if number else ""))
        parts.append(_text(annotation, file.suffix, number=number + 1, newline=newline))
    default_footer = newline if file.annotations else ""
    parts.append(default_footer if file.footer is None else file.footer)
    return "".join(parts)


def _read_text(path: Path) -> str:
    """Return a file's text: UTF-8, or UTF-16 if a byte order mark says so."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise WordsError(f"can't read {path}: {error}") from error
    if len(content) > _MAX_BYTES:
        raise WordsError(f"can't read {path}: it has more than {_MAX_BYTES // 2**20} MiB")
    has_utf_16_mark = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "UTF-16" if has_utf_16_mark else "UTF-8"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = len(split_lines(content[: error.start].decode("latin-1") + "."))
        raise WordsError(
            f"{path}, line {line}: byte {content[error.start]:#04x} is not {encoding}; save the "
            "file as UTF-8, for instance with iconv -f WINDOWS-1252 -t UTF-8"
        ) from error


def _convert(
    path: Path, file: AnnotationFile, *, convert_one: Callable[[Annotation], T]
) -> list[T]:
    converted = []
    for annotation in file.annotations:
        try:
            converted.append(convert_one(annotation))
        except Exception as error:  # one line must not end a run of many recordings
            raise WordsError(f"{path}, line {annotation.line}: {_reason(error)}") from error
    return converted


def _reason(error: Exception) -> str:
    """Return what is wrong. An error that nobody raised on purpose has its class."""
    if isinstance(error, KeyError):
        return f"`{error.args[0]}` is missing"
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _cue_utterances(
    annotations: Sequence[Annotation], chunk_s: float, *, report: Callable[[str], None]
) -> list[Utterance]:
    """Return cues by time. Those without length hold until the next one, at most a chunk."""
    starts_s = sorted(annotation.time_field("start_s") for annotation in annotations)
    utterances, held = list[Utterance](), list[int]()
    for annotation in annotations:
        start_s, end_s = annotation.time_field("start_s"), annotation.time_field("end_s")
        if end_s <= start_s:
            held.append(annotation.line)
            later = bisect_right(starts_s, start_s)
            end_s = min([start_s + chunk_s, *starts_s[later : later + 1]])
        utterances.append(Utterance(start_s, end_s, annotation.text_field("text")))
    if held:
        lines = ", ".join(map(str, held[:_MAX_LISTED])) + (", …" if len(held) > _MAX_LISTED else "")
        report(
            f"line {lines}: {plural(len(held), 'cue')} without length, shown until the next cue or "
            f"for {chunk_s:g} s"
        )
    return sorted(utterances, key=lambda utterance: utterance.start_s)


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
