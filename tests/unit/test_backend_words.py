"""Words of a database: what is known is an enum, what is not stays the word that it is."""

import doctest
import json
from collections.abc import Callable
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.health import backend_words
from wa_sessions.health.backend_words import (
    ConnectionType,
    UnknownWord,
    connection_type_of,
    session_state_of,
    status_of,
)
from wa_sessions.health.reconnect import State, Status

READERS = [(status_of, Status), (connection_type_of, ConnectionType), (session_state_of, State)]


@pytest.mark.parametrize(("read", "known"), READERS)
def test_a_known_word_is_one_of_ours(read: Callable[[str], StrEnum | UnknownWord], known: type[StrEnum]) -> None:
    assert [read(word.value) for word in known] == list(known)
    assert all(isinstance(read(word.value), known) for word in known)


@pytest.mark.parametrize(("read", "known"), READERS)
@given(st.text(max_size=12))
def test_no_word_is_lost_and_none_is_taken_for_another(
    read: Callable[[str], StrEnum | UnknownWord], known: type[StrEnum], text: str
) -> None:
    word = read(text)
    assert isinstance(word, UnknownWord) == (word not in set(known))
    assert word.casefold() == text.casefold()
    assert json.loads(json.dumps({"word": word})) == {"word": str(word)}
    if isinstance(word, UnknownWord):
        assert (word, f"{word}", repr(word), hash(word)) == (text, text, repr(text), hash(text))


def test_examples_in_docstrings() -> None:
    failed, tried = doctest.testmod(backend_words)
    assert (failed, tried > 2) == (0, True)
