"""report.html, read as a browser's parser reads it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from streamingvlm_ros.bags.cdr import encode, known_types, topic_of
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.config import FrameConfig
from streamingvlm_ros.evaluation.judge import Match
from streamingvlm_ros.evaluation.report import recording_view, table
from streamingvlm_ros.evaluation.report.recording_view import picture_step_s, view_recording
from streamingvlm_ros.evaluation.report.replay import Replay
from streamingvlm_ros.evaluation.report.report import write_report
from streamingvlm_ros.evaluation.report.thumbnails import thumbnails
from streamingvlm_ros.evaluation.report.timeline import Group, NarrationEntry, groups
from streamingvlm_ros.evaluation.report.worst_cases import MAX_CASES, worst_narrations
from streamingvlm_ros.evaluation.results import AnswerRecord
from streamingvlm_ros.evaluation.summary import SummaryRow, summarize
from streamingvlm_ros.evaluation.trend import Trend
from streamingvlm_ros.evaluation.trial import TrialRecord
from streamingvlm_ros.recordings.annotations import Utterance
from streamingvlm_ros.recordings.questions import TimedQuestion
from streamingvlm_ros.types import NS_PER_S as S

from ..support.cli import run
from ..support.world_bags import BEGIN_S, WORLD, film, message
from .sample_results import (
    HOSTILE,
    SECONDS,
    TRUTH,
    answer,
    report_html,
    request,
    result,
    scored,
    skipped,
    three_trials,
    utterances,
)

VOID = {"meta", "img", "br", "input"}
OPTIONAL_END = {"td", "th", "tr"}
"""Elements whose end tag HTML makes optional."""


class Page(HTMLParser):
    """Elements, texts by the element they are in, and whether every element ends."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID | OPTIONAL_END:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in OPTIONAL_END:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    def text(self) -> str:
        """All visible text, with single spaces."""
        visible = (text for tag, text in self.texts if tag not in ("style", "script"))
        return " ".join(" ".join(visible).split())

    def attributes(self, name: str) -> list[str]:
        return [value for _, each in self.elements if (value := each.get(name)) is not None]


def test_the_page_is_well_formed_and_needs_no_other_file(tmp_path: Path) -> None:
    html = report_html(tmp_path, three_trials(film(tmp_path / "world", range(SECONDS))))
    page = Page(html)
    assert page.open == []
    assert "http:" not in html
    assert "https:" not in html
    assert not {tag for tag, _ in page.elements} & {"link", "iframe", "object", "base", "form"}
    assert all(url.startswith("data:image/jpeg;base64,") for url in page.attributes("src"))
    assert len(page.attributes("src")) > 4
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {href.removeprefix("#") for href in page.attributes("href")} <= set(ids)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "world"]


def test_hostile_texts_are_only_texts(tmp_path: Path) -> None:
    question = TimedQuestion(3.0, f"Q{HOSTILE}", "B", (f"O{HOSTILE}", "blue"))
    path = Path(f"/missing/P{HOSTILE.replace('/', '')}")
    trial = replace(
        result(
            [f"S{HOSTILE}", *TRUTH[1:], "\ud800 half a character"],
            [f"R{HOSTILE}", *TRUTH[1:]],
            answers=[
                AnswerRecord(question, "stream", f"A{HOSTILE}", "", 0.1, 0.0, f"T{HOSTILE}"),
                AnswerRecord(question, "x", "", f"E{HOSTILE}", 0, 0.0, f"T{HOSTILE}"),
                answer("A dog.", task=f"K{HOSTILE}"),
            ],
            of=request(f"I{HOSTILE}", f"M{HOSTILE}", path=path),
        ),
        losses={f"L{HOSTILE}": f"L{HOSTILE}"},
    )
    page = Page(
        report_html(tmp_path, [trial, skipped(f"J{HOSTILE}", f"W{HOSTILE}", model=f"M{HOSTILE}")])
    )
    assert page.open == []
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not [name for _, each in page.elements for name in each if name.startswith("on")]
    assert page.attributes("src") == []
    for letter in "SRQOAEIMLJWTK":
        assert f"{letter}{HOSTILE}" in page.text()
    command = Replay(path, 0.0).command(f"M{HOSTILE}", 1.0)
    assert shlex.split(command)[2] == str(path)
    assert command in "".join(text for _, text in page.texts)


def test_the_table_has_all_figures_and_marks_the_best(tmp_path: Path) -> None:
    results = three_trials(tmp_path / "missing")
    html = report_html(tmp_path, results)
    body = html[html.index('<table class="figures">') : html.index("</tbody>")]
    good, blank, poor = (Page(f"<tr{row}").text().split() for row in body.split("<tr")[3:])
    assert results[0].narration_scores
    exact = f"{100 * results[0].narration_scores.exact:.1f}"
    assert (good[1], exact) == ("95.0", "95.0")
    assert (" ".join(blank[:2]), blank[2]) == ("no frames", "0.0")
    assert " ".join(poor[:2]) == "poor fps=1"
    best = [Page(f"<td{cell}").text() for cell in body.split("<td") if 'best"' in cell]
    assert exact in best
    assert "500" not in best  # both need as much
    text = Page(html).text()
    assert "2 models on 1 recording (0:20 in total)" in text
    assert f"{SECONDS} reference utterances, 2 questions, with controls" in text
    assert "Right answers (stream) demo 50.0" in text


def test_several_tasks_have_columns_of_their_own(tmp_path: Path) -> None:
    answers = [answer("A red ball.", 3.0, task="objects"), answer("A dog.", task="animals")]
    text = Page(report_html(tmp_path, [result(TRUTH, answers=answers)])).text()
    assert "Tasks (stream), %" in text
    assert "stream objects animals" in text
    assert "50.0 100.0 0.0" in text
    one_task = [answer("A red ball.", task="objects")]
    assert "Tasks" not in Page(report_html(tmp_path, [result(TRUTH, answers=one_task)])).text()


def test_the_judges_verdict_is_beside_the_scores(tmp_path: Path) -> None:
    match = Match(wins=3, ties=1, losses=0)
    results = three_trials(tmp_path / "missing")
    rows = summarize(results)
    rows[-1].judged = match.judgement(against=f"M{HOSTILE}")
    text = Page(write_report(tmp_path, results, rows=rows).read_text()).text()
    low, high = (100 * bound for bound in match.interval)
    assert f"poor fps=1 87.5 % {low:.1f} to {high:.1f}; 3 won, 1 tied, 0 lost" in text
    assert f"The judge, against {' '.join(f'M{HOSTILE}'.split())}" in text


@pytest.mark.parametrize(
    ("low", "slope", "high", "texts"),
    [
        (-0.021, -0.012, -1e-16, ("\N{MINUS SIGN}1.2", "\N{MINUS SIGN}2.1 to 0")),
        (0.05, 1.34, 2.0, ("+134", "+5.0 to +200")),
    ],
)
def test_a_change_over_time_is_shown_with_its_interval(
    low: float, slope: float, high: float, texts: tuple[str, str]
) -> None:
    assert table.slope(row_with(Trend((), slope, low, high))) == texts


def test_without_a_trend_no_change_is_shown() -> None:
    assert table.slope(row_with(Trend((), None, None, None))) is None
    assert table.slope(row_with(None)) is None


def row_with(trend: Trend | None) -> SummaryRow:
    return SummaryRow(model="demo", skipped={}, questions={}, tasks={}, over_time=trend)


def test_skipped_trials_are_listed_with_the_reason(tmp_path: Path) -> None:
    results = [*three_trials(tmp_path / "missing"), skipped("late", "no bag")]
    text = Page(report_html(tmp_path, results)).text()
    assert "Skipped and not scored late : no bag ( demo )" in text


def test_a_report_is_written_even_if_everything_was_skipped(tmp_path: Path) -> None:
    text = Page(report_html(tmp_path, [skipped("late", "no bag")])).text()
    assert "late : no bag" in text
    assert "1 model on 0 recordings" in text


def test_without_a_reference_narrations_and_answers_are_shown(tmp_path: Path) -> None:
    text = Page(report_html(tmp_path, [result(TRUTH, (), answers=[answer("A dog.")])])).text()
    assert "unknown" in text
    assert "stream wrong A dog." in text


def test_the_report_of_an_hour_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = "data:image/jpeg;base64," + 6000 * "A"
    stub_thumbnails(monkeypatch, picture)
    truth = [f"second {n}: a person in a red coat walks past the open door" for n in range(3600)]
    texts = [f"second {n}: a person in a blue coat stands at the open door" for n in range(3600)]
    answers = [answer("A dog.", time_s) for time_s in range(10, 3600, 10)]
    one = result(texts, truth, answers=answers)
    html = report_html(tmp_path, [one, replace(one, request=request(model="other"))])
    assert html.count("<img") > 200
    assert len(html) < 3.2e6


def stub_thumbnails(monkeypatch: pytest.MonkeyPatch, picture: str) -> None:
    def same(path: Path, camera: str | None, *, config: FrameConfig, times_s: Any) -> Any:
        return dict.fromkeys(times_s, picture)

    monkeypatch.setattr(recording_view, "thumbnails", same)


@pytest.mark.parametrize(
    "far",
    [
        [Utterance(1.7e9 + n, 1.7e9 + n + 1, "now") for n in range(20)],
        [Utterance(0, 9e9, "for ever")],
        [Utterance(-9e9, -8e9, "before the earth"), Utterance(0, 1, "now")],
    ],
)
def test_a_reference_far_outside_the_recording_adds_no_pictures(
    tmp_path: Path, far: list[Utterance]
) -> None:
    bag = film(tmp_path / "world", range(8))
    record = TrialRecord(utterances(TRUTH[:8]), [answer("A dog.", 1.7e9)], [0.1] * 8)
    html = report_html(tmp_path, [scored(record, far, of=request(path=bag))])
    timeline = html[html.index('<div class="picture">') :]
    assert timeline.count("<img") == 2  # of the recording's 8 seconds, one each 5
    assert len(html) < 200_000


def test_a_clock_that_jumps_for_years_has_pictures_on_both_sides_of_the_jump(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stub_thumbnails(monkeypatch, "")
    texts = [Utterance(jump + n, jump + n + 1, "a") for jump in (0.0, 3e8) for n in range(10)]
    trial = scored(TrialRecord(texts, [], [0.1] * 20))
    assert picture_step_s([trial]) == 5
    view = view_recording("world", 1, results=[trial], step_s=5, times_s=[])
    assert len(view.pictures) == 4


def test_pictures_stay_few_however_far_apart_the_rounds_are() -> None:
    rounds = tuple(Utterance(n * 1e6, n * 1e6 + 1, "a") for n in range(5000))
    trial = replace(result([]), narrations=rounds)
    step_s = picture_step_s([trial])
    pictures = {narration.start_s // step_s for narration in rounds}
    assert len(pictures) <= recording_view.MAX_PICTURES


def test_the_last_process_of_an_evaluation_writes_the_report(tmp_path: Path) -> None:
    bags, out = tmp_path / "bags", tmp_path / "out"
    for name in ("one", "two"):
        film(bags / name, range(4))
        (bags / f"{name}.jsonl").write_text('{"start_s": 0, "end_s": 4, "text": "A red ball."}')
    for rank in range(2):
        assert not (out / "report.html").exists()
        with patch.dict(os.environ, {"RANK": str(rank), "WORLD_SIZE": "2"}):
            done = run("evaluate", bags, "--output", out, "--model", "demo")
        assert done.returncode == 0, done.stderr
    assert f"Report: {out / 'report.html'}" in done.stderr
    page = Page((out / "report.html").read_text())
    assert "1 model on 2 recordings (0:08 in total)" in page.text()
    assert len(page.attributes("src")) == 2 + 2  # on the timelines, and of the worst moments


def narration_entries(groups: Sequence[Group]) -> list[NarrationEntry]:
    return [e for group in groups for e in group.entries if isinstance(e, NarrationEntry)]


def test_similar_texts_have_their_differing_words_marked() -> None:
    truth = ["the red ball rolls left", "the red ball rests", "a dog", ""]
    texts = ["The red ball rolls left", "the blue ball rests", "nothing here", ""]
    entries = narration_entries(list(groups([result(texts, truth)], step_s=5, pictures={})))
    kinds = [entry.cells[0].closeness for entry in entries]
    assert kinds == ["exact", "near", "different", "exact"]
    spans = [(span.kind, span.text) for span in entries[1].cells[0].spans]
    assert spans == [("same", "the"), ("missing", "red"), ("added", "blue"), ("same", "ball rests")]
    assert [entry.right for entry in entries] == [True, False, False, True]


def test_models_are_side_by_side_also_where_the_reference_ends() -> None:
    results = [result(["a", "", "", "d"], ["a"]), result(["b", "", "c", "d"], ["a"])]
    entries = narration_entries(list(groups(results, step_s=10, pictures={})))
    texts = [[span.text for cell in entry.cells for span in cell.spans] for entry in entries]
    assert [entry.start_s for entry in entries] == [0, 2, 3]
    assert [entry.reference for entry in entries] == ["a", None, None]
    assert texts == [["a", "b"], ["c"], ["d", "d"]]


def test_consecutive_silence_is_one_row_and_questions_are_at_their_time() -> None:
    trial = result([""] * 8, ["a", *[""] * 7], answers=[answer("A dog.", 5.0)])
    (group,) = groups([trial], step_s=10, pictures={0.0: "picture"})
    assert [entry.start_s for entry in group.entries] == [0, 1, 5, 5]
    assert not group.right


def test_the_worst_narrations_come_first_and_are_apart() -> None:
    truth = [f"the ball number {n} rolls to the left" for n in range(40)]
    texts = [*truth[:10], *["hm"] * 3, *truth[13:30], "the ball number 30 rolls right", *truth[31:]]
    cases = worst_narrations([result(texts, truth)])
    assert [(case.time_s, case.score > 0.5) for case in cases] == [(10, False), (30, True)]
    assert len(worst_narrations([result(["hm"] * 40, truth)])) == MAX_CASES


def test_a_thumbnail_is_the_newest_frame_at_its_time(tmp_path: Path) -> None:
    bag = film(tmp_path / "world", range(4))
    pictures = thumbnails(bag, None, config=FrameConfig(), times_s=[3.9, 0.0, 0.6, 0.5])
    assert sorted(pictures) == [0.0, 0.5, 0.6, 3.9]
    assert pictures[0.5] == pictures[0.6]
    assert len({pictures[0.0], pictures[0.5], pictures[3.9]}) == 3
    assert thumbnails(tmp_path / "missing", None, config=FrameConfig(), times_s=[0.0]) == {}


def test_a_bag_is_replayed_from_before_the_moment_by_the_recorders_clock(tmp_path: Path) -> None:
    text, camera = (
        topic_of("/text", "std_msgs/msg/String"),
        topic_of("/image", "sensor_msgs/msg/Image"),
    )
    types: Any = known_types().types
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        bag.write(text, 90 * S, data=encode(types["std_msgs/msg/String"](data="earlier")))
        image = message(WORLD.frame(0.0, 56, 56), BEGIN_S * S + S // 2)
        bag.write(camera, 100 * S, data=image)
    words = shlex.split(Replay.of(tmp_path / "bag", None, chunk_s=1.0).command("demo", 30.0))
    # The image came 10 s after the bag's beginning and half a second into its chunk.
    assert words[:3] == ["streamingvlm", "replay", str(tmp_path / "bag")]
    assert words[3:] == ["--live", "--start", f"{10 - 0.5 + 30 - 3:.1f}"]
    assert Replay.of(tmp_path / "missing", None, chunk_s=1.0).offset_s == 0.0


def test_only_the_narrated_camera_of_several_is_replayed(tmp_path: Path) -> None:
    bag = film(tmp_path / "bag", range(1), topics=("/left/image", "/right/image"))
    words = shlex.split(Replay.of(bag, "/right/image", chunk_s=1.0).command("demo", 0.0))
    assert words[3:] == ["--live", "--topic", "/right/image", "--start", "0.0"]


def test_a_video_is_narrated_again_by_the_model() -> None:
    command = Replay(Path("/v/a b.mp4"), 0.0).command("demo fps=1 vision_rounds=4", 30.0)
    assert command == "streamingvlm replay '/v/a b.mp4' --model demo --fps=1"
