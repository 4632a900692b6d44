"""Texts that strangers made, cleaned."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.plain_text import LIMIT, plain_id, plain_text

WILD = st.text(st.characters(), max_size=400)  # surrogates too


@given(WILD)
def test_what_is_cleaned_harms_nobody(text: str) -> None:
    for cleaned in (plain_text(text), plain_id(text)):
        assert len(cleaned) <= LIMIT
        assert {unicodedata.category(char) for char in cleaned}.isdisjoint({"Cc", "Cs", "Zl", "Zp"})
        assert {unicodedata.bidirectional(char) for char in cleaned}.isdisjoint(
            {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
        )
        cleaned.encode()


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=LIMIT))
def test_an_ordinary_text_stays_as_it_is(text: str) -> None:
    assert plain_text(text) == plain_id(text) == text


@given(WILD, WILD)
def test_two_ids_stay_two(one: str, other: str) -> None:
    assert (plain_id(one) == plain_id(other)) is (one == other)


@given(WILD)
def test_cleaning_again_changes_nothing(text: str) -> None:
    assert plain_id(plain_id(text)) == plain_id(text)
    assert plain_text(plain_text(text)) == plain_text(text)


@pytest.mark.parametrize("size", [201, 1_000, 1_000_000])
def test_what_is_too_long_is_cut(size: int) -> None:
    assert plain_id("X" * size) != plain_id("X" * (size + 1))
    assert plain_text("X" * size) == "X" * 199 + "…"
