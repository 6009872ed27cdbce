"""The pictures from which a question is answered. Pictures are stored of even seconds only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from streamingvlm_ros.history.store import Entry
from streamingvlm_ros.types import NS_PER_S as S

from .fixtures import answer, frame, narrate, opened, seconds

SILENT = ""


def best_seconds(
    folder: Path, narrations: Mapping[int, str], *, question: str, count: int
) -> list[int]:
    """Return the seconds of the best pictures after 100 seconds, some of them with a narration."""
    with opened(folder) as history:
        for second in range(100):
            narrate(history, second, text=narrations.get(second, SILENT))
        history.flush()
        return seconds(history.moments(question, count))


def test_a_question_finds_the_second_of_the_matching_narration(tmp_path: Path) -> None:
    narrations = {20: "a zebra", 40: "a red ball", 60: "a blue ball"}
    assert best_seconds(tmp_path, narrations, question="Where was the red ball?", count=1) == [40]


def test_a_moment_has_the_frame_and_narration_of_its_second(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        for second in range(10):
            narrate(history, second, text=f"the number {second}", shade=20 * second)
        history.flush()
        (moment,) = history.moments("Was 4 there?", 1)
    assert (moment.start_ns, moment.end_ns, moment.text) == (4 * S, 5 * S, "the number 4")
    assert (moment.frame.stamp_ns, moment.frame.frame_id) == (4 * S + S // 2, "optical")
    assert moment.frame.image.shape == (24, 32, 3)
    assert abs(int(moment.frame.image.mean()) - 80) < 5


def test_moments_come_oldest_first_up_to_the_count(tmp_path: Path) -> None:
    narrations = {20: "red ball", 40: "ball", 60: "red ball", 80: "ball"}
    assert best_seconds(tmp_path, narrations, question="ball", count=3) == [40, 60, 80]
    assert best_seconds(tmp_path / "none", narrations, question="red ball", count=0) == []


def test_matches_far_below_the_best_are_left_out(tmp_path: Path) -> None:
    narrations = {20: "red ball", 40: "ball", 60: "red ball", 80: "ball"}
    assert best_seconds(tmp_path, narrations, question="Where was the red ball?", count=3) == [
        20,
        60,
    ]


def test_neighbouring_words_weigh_more_than_each_alone(tmp_path: Path) -> None:
    narrations = {20: "a purple star", 40: "a blue star hits a purple ball"}
    assert best_seconds(tmp_path, narrations, question="Where was the purple star?", count=3) == [
        20
    ]


def test_a_second_without_a_picture_gets_the_nearest_one(tmp_path: Path) -> None:
    with opened(tmp_path, history_picture_seconds=10.0) as history:
        for second in range(40):
            narrate(history, second, text={13: "a zebra", 17: "a lion"}.get(second, SILENT))
        history.flush()
        (zebra,), (lion,) = history.moments("zebra", 1), history.moments("lion", 1)
        assert seconds([zebra, lion]) == [10, 20]
        assert (zebra.start_ns, zebra.text) == (10 * S, "a zebra")


def test_the_text_is_that_of_the_pictures_own_second_if_any(tmp_path: Path) -> None:
    with opened(tmp_path, history_picture_seconds=10.0) as history:
        for second, text in enumerate(["an empty table", "a zebra"]):
            narrate(history, second, text=text)
        history.flush()
        assert [m.text for m in history.moments("zebra", 1)] == ["an empty table"]


def test_a_picture_of_its_own_second_decides_only_among_equals(tmp_path: Path) -> None:
    narrations = {20: "a red ball", 41: "a red ball", 60: "a ball"}
    assert best_seconds(tmp_path, narrations, question="ball", count=1) == [60]
    assert best_seconds(tmp_path / "2", narrations, question="red ball", count=1) == [20]
    assert best_seconds(
        tmp_path / "3", {41: "a red ball", 60: "a ball"}, question="red ball", count=1
    ) == [42]


def test_narrations_that_share_a_picture_are_one_moment(tmp_path: Path) -> None:
    with opened(tmp_path, history_picture_seconds=30.0) as history:
        for second in range(30):
            narrate(history, second, text="a red ball")
        history.flush()
        assert seconds(history.moments("red ball", 4)) == [0]


def test_other_occasions_come_before_more_of_the_same_one(tmp_path: Path) -> None:
    narrations = {second: "red ball" for start in (10, 50) for second in range(start, start + 9)}
    assert best_seconds(tmp_path, narrations, question="red ball", count=2) == [18, 58]
    assert best_seconds(tmp_path / "4", narrations, question="red ball", count=4) == [
        18,
        54,
        56,
        58,
    ]


def test_more_of_the_same_occasion_comes_before_worse_matches(tmp_path: Path) -> None:
    narrations = {10: "red ball", 12: "red ball", 50: "ball", 80: "red"}
    assert best_seconds(tmp_path, narrations, question="red ball", count=2) == [10, 12]


def test_answers_are_not_searched(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        for second in range(40):
            narrate(history, second, text="a red ball" if second == 20 else SILENT)
        for second in (30, 34):
            answer(history, "What colour was the ball?", text="The ball was red.", second=second)
        history.flush()
        assert seconds(history.moments("What colour was the ball?", 4)) == [20]


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [98]), (2, [0, 98]), (3, [0, 50, 98]), (200, list(range(0, 99, 2)))]
)
def test_without_a_match_moments_are_spread_evenly(
    tmp_path: Path, count: int, expected: list[int]
) -> None:
    assert (
        best_seconds(tmp_path, {20: "a red ball"}, question="What happened?", count=count)
        == expected
    )


def test_an_empty_history_has_no_moments(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        assert history.moments("What happened?", 4) == []
        history.add(Entry("a red ball", 0, S))
        history.flush()
        assert history.moments("red ball", 4) == []


def test_a_run_of_simulated_time_gets_its_own_pictures(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        for second in range(1, 12):
            narrate(history, second, text=SILENT, shade=10)
        for second in range(12):
            narrate(history, second, text="a zebra" if second == 5 else SILENT, shade=200)
        history.flush()
        (moment,) = history.moments("zebra", 1)
    assert moment.frame.image.mean() > 150


def test_the_same_time_in_another_run_is_another_occasion(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        for shade in (10, 200):
            for second in range(0, 20, 2):
                narrate(
                    history, second, text="a zebra" if second in (10, 12) else SILENT, shade=shade
                )
        history.flush()
        one, other = history.moments("zebra", 2)
    assert seconds([one, other]) == [12, 12]
    assert one.frame.image.mean() < 50 < 150 < other.frame.image.mean()


def test_a_run_after_a_restart_gets_its_own_pictures(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        for second in range(1, 12):
            narrate(history, second, text=SILENT, shade=10)
    with opened(tmp_path) as history:
        for second in range(12):
            narrate(history, second, text="a zebra" if second == 5 else SILENT, shade=200)
        history.flush()
        (moment,) = history.moments("zebra", 1)
    assert moment.frame.image.mean() > 150


def test_a_camera_gets_its_own_pictures(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        for second in range(12):
            narrate(
                history,
                second,
                text="a zebra" if second == 5 else SILENT,
                shade=200,
                camera="front",
            )
            narrate(history, second + 1, text=SILENT, shade=10, camera="rear")
        history.flush()
        (moment,) = history.moments("zebra", 1)
    assert moment.frame.image.mean() > 150


def test_a_camera_without_pictures_does_not_affect_others(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        narrate(history, 0, text="a red ball")
        history.add(Entry("a red ball", 50 * S, 51 * S, camera="blind"))
        history.add(Entry("", 2 * S, 3 * S), frame(2))
        history.flush()
        assert seconds(history.moments("red ball", 4)) == [0]
