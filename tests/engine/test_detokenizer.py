"""Pieces of an answer: each is final, and together they equal the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from streamingvlm_ros.engine.chat_format import ChatFormat

from .conftest import CHECKPOINT

CHAT_FORMAT = ChatFormat(AutoTokenizer.from_pretrained(CHECKPOINT))


def pieces_of(ids: list[int]) -> list[str]:
    detokenizer = CHAT_FORMAT.incremental_detokenizer()
    return [*(detokenizer.add(id) for id in ids), detokenizer.end()]


@given(st.text(alphabet="a .\n\0…é雪🤖", max_size=20))
def test_pieces_join_to_the_decoded_text(text: str) -> None:
    ids = list(CHAT_FORMAT.encode(text))
    assert "".join(pieces_of(ids)) == CHAT_FORMAT.decode(ids)


@given(st.lists(st.integers(8, 300), max_size=20))
def test_pieces_of_random_tokens_join_to_the_decoded_text(ids: list[int]) -> None:
    assert "".join(pieces_of(ids)) == CHAT_FORMAT.decode(ids)


@pytest.mark.parametrize("text", ["robot 🤖 there", "a door ...", "wait ... there", "one.\n ..."])
def test_no_emitted_text_is_taken_back(text: str) -> None:
    ids = CHAT_FORMAT.encode(text)
    emitted = ""
    for piece in pieces_of(list(ids))[:-1]:
        emitted += piece
        assert CHAT_FORMAT.decode(ids).startswith(emitted)
        assert "\ufffd" not in piece
    assert emitted in (CHAT_FORMAT.decode(ids), text.removesuffix(" ...").strip())


@given(st.lists(st.integers(0, 368), max_size=20))
def test_special_tokens_add_no_text(ids: list[int]) -> None:
    assert "".join(pieces_of(ids)) == CHAT_FORMAT.decode(ids)


def test_a_character_is_emitted_with_its_last_byte() -> None:
    ids = CHAT_FORMAT.encode("a🤖b")
    pieces = pieces_of(list(ids))
    assert [piece for piece in pieces if piece] == ["a", "🤖", "b"]
    assert pieces[-1] == ""
