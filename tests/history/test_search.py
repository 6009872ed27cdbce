from __future__ import annotations

from pathlib import Path

import pytest

from streamingvlm_ros.history.search import content_words

from .fixtures import answer, narrate, opened, texts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Where was the red ball?", ["red", "ball"]),
        ("What's on the table, and what isn't?", ["table"]),
        ("Red red RED", ["RED"]),
        ("What is it?", ["What", "is", "it"]),
        ('"NEAR(red, 2)" * -', ["NEAR", "red", "2"]),
        ("Cafe\u0301 größer 机器人", ["Café", "größer", "机器人"]),
        ("a_b", ["b"]),
        ("*** () ^ : ?", []),
        ("", []),
    ],
)
def test_words_are_letters_and_digits_without_function_words(text: str, words: list[str]) -> None:
    assert content_words(text) == words


def test_a_page_of_text_is_cut_to_its_first_words() -> None:
    assert content_words(" ".join(f"word{n}" for n in range(1000)))[-1] == "word31"


def search(folder: Path, narrations: list[str], *, words: str, limit: int = 100) -> list[str]:
    """Return the narrations that a search finds."""
    with opened(folder) as history:
        for number, text in enumerate(narrations):
            narrate(history, number, text=text)
        history.flush()
        return texts(history, words, limit=limit)


def test_any_of_the_words_matches(tmp_path: Path) -> None:
    narrations = ["a red ball", "a blue cube", "nothing", "a red cube"]
    assert search(tmp_path, narrations, words="red ball") == ["a red ball", "a red cube"]


def test_more_matching_words_rank_higher_and_the_newest_wins_a_tie(tmp_path: Path) -> None:
    narrations = ["one red ball", "one ball", "another red ball", "red", "another ball", "red"]
    assert search(tmp_path, narrations, words="red ball", limit=1) == ["another red ball"]
    assert search(tmp_path / "2", narrations, words="red ball", limit=2) == [
        "one red ball",
        "another red ball",
    ]


def test_a_rare_word_outweighs_common_ones(tmp_path: Path) -> None:
    narrations = ["a zebra", *["a red ball"] * 20]
    assert search(tmp_path, narrations, words="Was a zebra near the red ball?", limit=1) == [
        "a zebra"
    ]


def test_length_and_repetition_do_not_matter(tmp_path: Path) -> None:
    narrations = [
        "ball ball ball",
        "a ball that lies on the table near the wall, far from the door",
    ]
    assert search(tmp_path, narrations, words="ball", limit=1) == narrations[1:]


def test_word_forms_and_accents_match(tmp_path: Path) -> None:
    narrations = ["it moves left", "moved", "the CAFE is open", "größer"]
    assert search(tmp_path, narrations, words="moving café") == narrations[:3]
    assert search(tmp_path / "other", narrations, words="GRÖSSER größer") == narrations[3:]


@pytest.mark.parametrize("words", [" ", "\n\t ", "\u3000"])
def test_white_space_counts_as_no_words(tmp_path: Path, words: str) -> None:
    narrations = ["a red ball", "a blue cube", "a red cube"]
    assert search(tmp_path, narrations, words=words, limit=2) == narrations[1:]


def test_answers_match_by_words_of_question_or_answer(tmp_path: Path) -> None:
    with opened(tmp_path) as history:
        narrate(history, 0, text="a red ball")
        answer(history, "Is the door open?", text="No, closed.")
        history.flush()
        assert texts(history, "door") == texts(history, "closed") == ["No, closed."]


HOSTILE = [
    '"', '""', "*", "red*", '"red', "NEAR(red ball)", "(red", "red)", "red AND", "NOT red", "-red",
    "text:red", "question : red", "^red", "red + ball", "{text} : red", "red'; DROP TABLE entry;--",
    "\x00", "red\x00ball", "\ud800", "🤖", "%", "AND", "OR", "a" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("words", HOSTILE, ids=lambda words: ascii(words)[:20])
def test_no_text_is_read_as_a_query(tmp_path: Path, words: str) -> None:
    with opened(tmp_path) as history:
        narrate(history, 0, text="a red ball")
        narrate(history, 1, text="nothing")
        history.flush()
        assert texts(history, words) == (["a red ball"] if "red" in words else [])
        assert len(history.moments(words, 2)) == 1
        assert texts(history) == ["a red ball", "nothing"]
