"""Two spellings that are one account, and the numbers that somebody may have meant."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.keys import phone_ref
from wa_sessions.keys.phone_ref import nearest, same_account, spellings

numbers = st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True)
KNOWN = ["77051234567", "5511987654321", "5215512345678", "5491123456789", "447911123456", "77770001122"]


def test_its_examples() -> None:
    assert doctest.testmod(phone_ref).failed == 0


@given(numbers)
def test_spellings_are_of_one_account_whichever_is_looked_at(number: str) -> None:
    assert number in spellings(number)
    for other in spellings(number):
        assert set(spellings(other)) == set(spellings(number))
        assert same_account(number, other)
        assert same_account(other, number)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("5511987654321", "551187654321", True),
        ("5215512345678", "525512345678", True),
        ("5491123456789", "541123456789", True),
        ("551131234567", "5511931234567", False),  # a fixed line
        ("77051234567", "7705123456", False),
        ("5511987654321", "5511987654322", False),
    ],
)
def test_accounts_that_are_written_in_two_ways(one: str, other: str, same: bool) -> None:
    assert same_account(one, other) is same


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("77051234568", "77051234567"),  # one digit is another
        ("7705123456", "77051234567"),  # one is missing
        ("770512345678", "77051234567"),  # one too many
        ("77051243567", "77051234567"),  # two are exchanged
        ("7051234567", "77051234567"),  # no country code
        ("11987654321", "5511987654321"),
        ("1187654321", "5511987654321"),  # nor the ninth digit
        ("551187654322", "5511987654321"),
        ("525512345679", "5215512345678"),
        ("541123456788", "5491123456789"),
        ("4407911123456", "447911123456"),  # +44 (0) 7911 …
        ("7911123456", "447911123456"),
    ],
)
def test_what_was_meant(typed: str, meant: str) -> None:
    assert nearest(typed, KNOWN)[0] == meant


@pytest.mark.parametrize("typed", ["77059999999", "4915112345678", "1234567"])
def test_what_is_far_from_all_is_not_guessed(typed: str) -> None:
    assert nearest(typed, KNOWN) == []


@given(numbers, st.data())
def test_one_slip_is_always_found(number: str, data: st.DataObject) -> None:
    at, digit = data.draw(st.integers(0, len(number) - 1)), data.draw(st.sampled_from("0123456789"))
    before, after = number[:at], number[at + 1 :]
    for typed in (before + digit + after, before + digit + number[at:], before + after):
        assert nearest(typed, [number]) == [number]
