"""report.html, read as a browser's parser reads it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from streamingvlm_ros.bags.cdr import encode, known_types, topic_of
from streamingvlm_ros.bags.writer import BagConfig, BagWriter
from streamingvlm_ros.config import FrameConfig, Settings
from streamingvlm_ros.evaluation.judge import Match
from streamingvlm_ros.evaluation.judging import figures
from streamingvlm_ros.evaluation.outcome import outcome
from streamingvlm_ros.evaluation.report import shown, table
from streamingvlm_ros.evaluation.report.replaying import Replay, replay
from streamingvlm_ros.evaluation.report.report import write_report
from streamingvlm_ros.evaluation.report.thumbnails import thumbnails
from streamingvlm_ros.evaluation.report.timeline import Group, Row, groups
from streamingvlm_ros.evaluation.report.worst import SHOWN, worst_narrations
from streamingvlm_ros.evaluation.summary import Result, summarize
from streamingvlm_ros.evaluation.trial import Answered, TrialRecord
from streamingvlm_ros.recordings.annotations import Utterance
from streamingvlm_ros.recordings.questions import TimedQuestion
from streamingvlm_ros.types import NS_PER_S as S

from ..recordings.scene import BEGIN_S, WORLD, film, message
from ..support.cli import run

SECONDS = 20
TRUTH = [WORLD.caption(n) for n in range(SECONDS)]
HOSTILE = '"\'><script>alert(1)</script><img src=x onerror=alert(2)>\u202e{{ 7 * 7 }}&amp;"'
VOID = {"meta", "img", "br", "input"}
LEFT_OPEN = {"td", "th", "tr"}
"""Elements whose end HTML lets one leave out."""


def utterances(texts: Sequence[str], begin_s: float = 0.0) -> list[Utterance]:
    return [Utterance(begin_s + n, begin_s + n + 1, text) for n, text in enumerate(texts)]


def result(
    said: Sequence[str],
    truth: Sequence[str] = TRUTH,
    answers: Sequence[Answered] = (),
    item: str = "world",
    model: str = "demo",
    control: str = "seen",
    path: Path = Path("/gone/world"),
) -> Result:
    """A trial's results, as evaluate keeps them."""
    trial = TrialRecord(utterances(said), list(answers), [0.02, 0.1] * (len(said) // 2), 500.0)
    request = {
        "item": item,
        "recording": str(path),
        "camera": None,
        "model": model,
        "settings": {**Settings().flat(), "seed": len(model)},
        "control": control,
    }
    return {"request": request, "losses": {}, **outcome(utterances(truth), trial)}


def skipped(item: str, why: str, model: str = "demo") -> Result:
    request = {"item": item, "model": model, "control": "seen"}
    return {"request": request, "skipped": why}


def answered(said: str, time_s: float = 12.0, error: str = "", mode: str = "stream") -> Answered:
    asked = TimedQuestion(time_s, "What is on the table?", "A red ball.")
    return Answered(asked, mode, said, error, 0.01)


def three(path: Path) -> list[Result]:
    """A good model, its control, and one that says the same for ever."""
    good = [*TRUTH[:5], f"{TRUTH[5] or 'something'} twice", *TRUTH[6:]]
    answers = [answered("A red ball."), answered("", 15.0, "the question is too long")]
    poor = [answered("A dog."), answered("A red ball.", 15.0)]
    return [
        result(good, answers=answers, path=path),
        result(["blank"] * SECONDS, answers=poor, control="no frames", path=path),
        result([TRUTH[0]] * SECONDS, answers=poor, model="poor fps=1", path=path),
    ]


def written(folder: Path, results: Sequence[Result]) -> str:
    return write_report(folder, results, summarize(results)).read_text()


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
        if tag not in VOID | LEFT_OPEN:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in LEFT_OPEN:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    def text(self) -> str:
        """All that is shown, with single spaces."""
        shown = (text for tag, text in self.texts if tag not in ("style", "script"))
        return " ".join(" ".join(shown).split())

    def attributes(self, name: str) -> list[str]:
        return [value for _, its in self.elements if (value := its.get(name)) is not None]


def test_it_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    html = written(tmp_path, three(film(tmp_path / "world", range(SECONDS))))
    page = Page(html)
    assert page.open == []
    assert "http:" not in html
    assert "https:" not in html
    assert not {tag for tag, _ in page.elements} & {"link", "iframe", "object", "base", "form"}
    assert all(its.startswith("data:image/jpeg;base64,") for its in page.attributes("src"))
    assert len(page.attributes("src")) > 4
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {its.removeprefix("#") for its in page.attributes("href")} <= set(ids)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "world"]


def test_hostile_texts_are_only_texts(tmp_path: Path) -> None:
    asked = TimedQuestion(3.0, f"Q{HOSTILE}", "B", (f"O{HOSTILE}", "blue"))
    its = result(
        [f"S{HOSTILE}", *TRUTH[1:], "\ud800 half a character"],
        [f"R{HOSTILE}", *TRUTH[1:]],
        [
            Answered(asked, "stream", f"A{HOSTILE}", "", 0.1),
            Answered(asked, "x", "", f"E{HOSTILE}", 0),
        ],
        item=f"I{HOSTILE}",
        model=f"M{HOSTILE}",
        path=Path(f"/gone/P{HOSTILE.replace('/', '')}"),
    )
    its["losses"] = {f"L{HOSTILE}": f"L{HOSTILE}"}
    page = Page(written(tmp_path, [its, skipped(f"J{HOSTILE}", f"W{HOSTILE}", f"M{HOSTILE}")]))
    assert page.open == []
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not [name for _, its in page.elements for name in its if name.startswith("on")]
    assert page.attributes("src") == []
    for where in "SRQOAEIMLJW":
        assert f"{where}{HOSTILE}" in page.text()
    command = Replay(Path(its["request"]["recording"]), 0.0).command(f"M{HOSTILE}", 1.0)
    assert shlex.split(command)[2] == its["request"]["recording"]
    assert command in "".join(text for _, text in page.texts)


def test_figures_stand_in_their_places_and_the_best_are_marked(tmp_path: Path) -> None:
    results = three(tmp_path / "gone")
    html = written(tmp_path, results)
    found = html[html.index('<table class="figures">') : html.index("</tbody>")]
    good, blank, poor = (Page(f"<tr{row}").text().split() for row in found.split("<tr")[3:])
    exact = f"{100 * results[0]['narration']['exact']:.1f}"
    assert (good[1], exact) == ("95.0", "95.0")
    assert (" ".join(blank[:2]), blank[2]) == ("no frames", "0.0")
    assert " ".join(poor[:2]) == "poor fps=1"
    best = [Page(f"<td{cell}").text() for cell in found.split("<td") if 'best"' in cell]
    assert exact in best
    assert "500" not in best  # both need as much
    text = Page(html).text()
    assert "2 models on 1 recording of 0:20 in all" in text
    assert f"{SECONDS} utterances of reference, 2 questions, with controls" in text
    assert "Right answers (stream) demo 50.0" in text


def test_the_judges_verdict_stands_beside_the_scores(tmp_path: Path) -> None:
    match = Match(wins=3, ties=1, losses=0)
    results = three(tmp_path / "gone")
    rows = summarize(results)
    rows[-1]["judged"] = figures(match, against=f"M{HOSTILE}")
    text = Page(write_report(tmp_path, results, rows).read_text()).text()
    low, high = (100 * bound for bound in match.interval)
    assert f"poor fps=1 87.5 % {low:.1f} to {high:.1f}; 3 won, 1 equal, 0 lost" in text
    assert f"The judge, against {' '.join(f'M{HOSTILE}'.split())}" in text


@pytest.mark.parametrize(
    ("low", "slope", "high", "told"),
    [
        (-0.021, -0.012, -1e-16, ("\N{MINUS SIGN}1.2", "\N{MINUS SIGN}2.1 to 0")),
        (0.05, 1.34, 2.0, ("+134", "+5.0 to +200")),
    ],
)
def test_a_change_is_told_with_its_interval(
    low: float, slope: float, high: float, told: tuple[str, str]
) -> None:
    row = {"over time": {"slope": slope, "low": low, "high": high}}
    assert table.slope(row) == told


def test_of_bins_too_few_for_a_line_no_change_is_told() -> None:
    assert table.slope({"over time": {"slope": None, "low": None, "high": None}}) is None
    assert table.slope({"over time": None}) is None


def test_what_was_skipped_is_said_with_the_reason(tmp_path: Path) -> None:
    text = Page(written(tmp_path, [*three(tmp_path / "gone"), skipped("late", "no bag")])).text()
    assert "Skipped: scored by nobody late : no bag ( demo )" in text


def test_where_everything_was_skipped_there_is_still_a_report(tmp_path: Path) -> None:
    text = Page(written(tmp_path, [skipped("late", "no bag")])).text()
    assert "late : no bag" in text
    assert "1 model on 0 recordings" in text


def test_without_a_reference_there_are_questions_and_what_was_said(tmp_path: Path) -> None:
    its = result(TRUTH, (), [answered("A dog.")])
    text = Page(written(tmp_path, [its])).text()
    assert "unknown" in text
    assert "stream wrong A dog." in text


def test_an_hour_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = "data:image/jpeg;base64," + 6000 * "A"
    monkeypatch.setattr(
        shown, "thumbnails", lambda path, camera, frames, at: dict.fromkeys(at, picture)
    )
    truth = [f"second {n}: a person in a red coat walks past the open door" for n in range(3600)]
    said = [f"second {n}: a person in a blue coat stands at the open door" for n in range(3600)]
    asked = [answered("A dog.", time_s) for time_s in range(10, 3600, 10)]
    results = [result(said, truth, asked, model=model) for model in ("one", "two")]
    html = written(tmp_path, results)
    assert html.count("<img") > 200
    assert len(html) < 3.2e6


@pytest.mark.parametrize(
    "far",
    [
        [Utterance(1.7e9 + n, 1.7e9 + n + 1, "now") for n in range(20)],
        [Utterance(0, 9e9, "for ever")],
        [Utterance(-9e9, -8e9, "before the earth"), Utterance(0, 1, "now")],
    ],
)
def test_a_reference_far_beyond_the_recording_has_no_pictures(
    tmp_path: Path, far: list[Utterance]
) -> None:
    bag = film(tmp_path / "world", range(8))
    its = result(TRUTH[:8], path=bag)
    its |= outcome(far, TrialRecord(utterances(TRUTH[:8]), [answered("A dog.", 1.7e9)], [0.1] * 8))
    html = written(tmp_path, [its])
    timeline = html[html.index('<div class="picture">') :]
    assert timeline.count("<img") == 2  # of the recording's 8 seconds, one each 5
    assert len(html) < 200_000


def test_a_clock_that_jumps_for_years_has_a_picture_for_each_time_it_showed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shown, "thumbnails", lambda path, camera, frames, at: dict.fromkeys(at, ""))
    its = result([])
    said = [Utterance(jump + n, jump + n + 1, "a") for jump in (0.0, 3e8) for n in range(10)]
    its |= outcome([], TrialRecord(said, [], [0.1] * 20))
    assert shown.step_for([its]) == 5
    assert len(shown.shown("world", 1, [its], 5, []).pictures) == 4


def test_pictures_stay_few_however_far_apart_the_rounds_are() -> None:
    its = result([])
    its["said"] = [asdict(Utterance(n * 1e6, n * 1e6 + 1, "a")) for n in range(5000)]
    step_s = shown.step_for([its])
    assert len({u["start_s"] // step_s for u in its["said"]}) <= shown.PICTURES


def test_the_last_process_of_an_evaluation_writes_it(tmp_path: Path) -> None:
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
    assert "1 model on 2 recordings of 0:08 in all" in page.text()
    assert len(page.attributes("src")) == 2 + 2  # on the timelines, and of the worst moments


def rows(groups: Sequence[Group]) -> list[Row]:
    return [entry for group in groups for entry in group.entries if isinstance(entry, Row)]


def test_differences_are_marked_word_by_word_where_texts_are_alike() -> None:
    truth = ["the red ball rolls left", "the red ball rests", "a dog", ""]
    said = ["The red ball rolls left", "the blue ball rests", "nothing here", ""]
    found = rows(list(groups([result(said, truth)], 5, {})))
    kinds = [row.cells[0].kind for row in found]
    assert kinds == ["exact", "near", "other", "exact"]
    pieces = [(piece.kind, piece.text) for piece in found[1].cells[0].pieces]
    assert pieces == [("same", "the"), ("less", "red"), ("more", "blue"), ("same", "ball rests")]
    assert [row.right for row in found] == [True, False, False, True]


def test_models_stand_side_by_side_also_beyond_the_reference() -> None:
    results = [result(["a", "", "", "d"], ["a"]), result(["b", "", "c", "d"], ["a"])]
    found = rows(list(groups(results, 10, {})))
    texts = [[p.text for cell in row.cells for p in cell.pieces] for row in found]
    assert [row.start_s for row in found] == [0, 2, 3]
    assert [row.reference for row in found] == ["a", None, None]
    assert texts == [["a", "b"], ["c"], ["d", "d"]]


def test_silence_is_told_once_and_questions_stand_at_their_time() -> None:
    its = result([""] * 8, ["a", *[""] * 7], [answered("A dog.", 5.0)])
    (group,) = groups([its], 10, {0.0: "picture"})
    assert [entry.start_s for entry in group.entries] == [0, 1, 5, 5]
    assert not group.right


def test_the_worst_moments_come_first_and_are_apart() -> None:
    truth = [f"the ball number {n} rolls to the left" for n in range(40)]
    said = [*truth[:10], *["hm"] * 3, *truth[13:30], "the ball number 30 rolls right", *truth[31:]]
    moments = worst_narrations([result(said, truth)])
    assert [(moment.time_s, moment.score > 0.5) for moment in moments] == [(10, False), (30, True)]
    assert len(worst_narrations([result(["hm"] * 40, truth)])) == SHOWN


def test_pictures_are_the_newest_frames_until_their_times(tmp_path: Path) -> None:
    bag = film(tmp_path / "world", range(4))
    found = thumbnails(bag, None, FrameConfig(), [3.9, 0.0, 0.6, 0.5])
    assert sorted(found) == [0.0, 0.5, 0.6, 3.9]
    assert found[0.5] == found[0.6]
    assert len({found[0.0], found[0.5], found[3.9]}) == 3
    assert thumbnails(tmp_path / "gone", None, FrameConfig(), [0.0]) == {}


def test_a_bag_is_replayed_from_before_the_moment_by_the_recorders_clock(tmp_path: Path) -> None:
    text, camera = (
        topic_of("/text", "std_msgs/msg/String"),
        topic_of("/image", "sensor_msgs/msg/Image"),
    )
    types: Any = known_types().types
    with BagWriter(tmp_path / "bag", BagConfig()) as bag:
        bag.write(text, 90 * S, encode(types["std_msgs/msg/String"](data="earlier")))
        image = message(WORLD.frame(0.0, 56, 56), BEGIN_S * S + S // 2)
        bag.write(camera, 100 * S, image)
    words = shlex.split(replay(tmp_path / "bag", None, 1.0).command("demo", 30.0))
    # The image came 10 s after the bag's beginning and half a second into its chunk.
    assert words[:3] == ["streamingvlm", "replay", str(tmp_path / "bag")]
    assert words[3:] == ["--live", "--start", f"{10 - 0.5 + 30 - 3:.1f}"]
    assert replay(tmp_path / "gone", None, 1.0).lead_s == 0.0


def test_of_several_cameras_only_the_one_that_was_narrated_is_replayed(tmp_path: Path) -> None:
    bag = film(tmp_path / "bag", range(1), topics=("/left/image", "/right/image"))
    words = shlex.split(replay(bag, "/right/image", 1.0).command("demo", 0.0))
    assert words[3:] == ["--live", "--topic", "/right/image", "--start", "0.0"]


def test_a_video_is_narrated_again_by_the_model() -> None:
    command = Replay(Path("/v/a b.mp4"), 0.0).command("demo fps=1 vision_rounds=4", 30.0)
    assert command == "streamingvlm replay '/v/a b.mp4' --model demo --fps=1"
