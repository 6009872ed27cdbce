from __future__ import annotations

from streamingvlm_ros.history.timeline import Timeline
from streamingvlm_ros.history.types import Entry
from streamingvlm_ros.types import NS_PER_S as S


def second(start: float, camera: str = "", *, question: str = "") -> Entry:
    return Entry("", round(start * S), round((start + 1) * S), question, camera)


def runs(entries: list[Entry]) -> list[int]:
    timeline = Timeline(2.0)
    return [timeline.run(entry, number) for number, entry in enumerate(entries, 1)]


def picture_starts(entries: list[Entry], every_s: float = 2.0) -> list[float]:
    """Return the starts of the seconds of which a picture is stored."""
    timeline, starts = Timeline(every_s), []
    for number, entry in enumerate(entries, 1):
        timeline.run(entry, number)
        if timeline.picture_due(entry):
            timeline.note_picture(entry)
            starts.append(entry.start_ns / S)
    return starts


def test_time_that_goes_forward_is_one_run() -> None:
    assert runs([second(5), second(6), second(6), second(600)]) == [1, 1, 1, 1]


def test_a_jump_back_in_time_begins_a_run() -> None:
    assert runs([second(5), second(6), second(5), second(6)]) == [1, 1, 3, 3]


def test_an_answer_belongs_to_the_present_run_even_if_about_earlier() -> None:
    answer = second(4, question="What?")
    assert runs([second(9), second(5), answer, second(6)]) == [1, 2, 2, 2]
    assert runs([answer, second(5)]) == [1, 1]


def test_every_camera_has_its_own_time() -> None:
    entries = [second(9, "front"), second(5, "rear"), second(10, "front"), second(6, "rear")]
    assert runs(entries) == [1, 2, 1, 2]
    assert picture_starts(entries) == [9, 5]


def test_pictures_are_far_enough_apart() -> None:
    assert picture_starts([second(n) for n in range(8)]) == [0, 2, 4, 6]
    assert picture_starts([second(n / 2) for n in range(8)], 1.25) == [0, 1.5, 3]
    assert picture_starts([second(n) for n in range(3)], 0.1) == [0, 1, 2]


def test_a_clock_set_back_makes_a_picture_due() -> None:
    assert picture_starts([second(100), second(101), second(99), second(100), second(101)]) == [
        100, 99, 101
    ]  # fmt: skip
