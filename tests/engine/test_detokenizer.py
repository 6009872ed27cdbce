"""Pieces of an answer: certain when they are said, and together the whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from streamingvlm_ros.engine.chat_format import ChatFormat
from streamingvlm_ros.engine.detokenizer import IncrementalDetokenizer

from .conftest import CHECKPOINT

DIALOGUE = ChatFormat(AutoTokenizer.from_pretrained(CHECKPOINT))


def pieces_of(ids: list[int]) -> list[str]:
    speech = IncrementalDetokenizer(DIALOGUE)
    return [*(speech.add(id) for id in ids), speech.end()]


@given(st.text(alphabet="a .\n\0…é雪🤖", max_size=20))
def test_pieces_together_are_the_text(text: str) -> None:
    ids = list(DIALOGUE.encode(text))
    assert "".join(pieces_of(ids)) == DIALOGUE.decode(ids)


@given(st.lists(st.integers(8, 300), max_size=20))
def test_pieces_of_any_tokens_are_the_text_too(ids: list[int]) -> None:
    assert "".join(pieces_of(ids)) == DIALOGUE.decode(ids)


@pytest.mark.parametrize("text", ["robot 🤖 there", "a door ...", "wait ... there", "one.\n ..."])
def test_nothing_is_taken_back(text: str) -> None:
    ids = DIALOGUE.encode(text)
    said = ""
    for piece in pieces_of(list(ids))[:-1]:
        said += piece
        assert DIALOGUE.decode(ids).startswith(said)
        assert "\ufffd" not in piece
    assert said in (DIALOGUE.decode(ids), text.removesuffix(" ...").strip())
