"""How the state of a session's health is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.health import START

from wa_sessions.health.model import ErrorKind, Health, Limits, Severity, severity

counters = st.integers(0, 20)


def test_the_limits_are_the_seeds() -> None:
    assert (Limits().of(ErrorKind.BAD_MAC), Limits().of(ErrorKind.BAD_DECRYPT), Limits().scope) == (3, 5, "account")


@pytest.mark.parametrize(
    ("bad_mac", "bad_decrypt", "expected"),
    [
        (0, 0, Severity.OK),
        (1, 0, Severity.WARNING),
        (2, 0, Severity.CRITICAL),
        (3, 0, Severity.CRITICAL),
        (0, 1, Severity.WARNING),
        (0, 3, Severity.WARNING),
        (0, 4, Severity.CRITICAL),
        (1, 4, Severity.CRITICAL),
    ],
)
def test_severity(bad_mac: int, bad_decrypt: int, expected: Severity) -> None:
    assert severity(bad_mac, bad_decrypt, Limits()) is expected


@given(counters, counters, st.builds(Limits, bad_mac=st.integers(1, 9), bad_decrypt=st.integers(1, 9)))
def test_critical_is_one_error_short_of_a_limit(bad_mac: int, bad_decrypt: int, limits: Limits) -> None:
    short = [
        count and count + 1 >= limits.of(kind) for count, kind in zip((bad_mac, bad_decrypt), ErrorKind, strict=True)
    ]
    judged = severity(bad_mac, bad_decrypt, limits)
    assert (judged is Severity.CRITICAL) == any(short)
    assert (judged is Severity.OK) == (bad_mac == bad_decrypt == 0)


def test_errors_are_read_by_their_kind() -> None:
    health = Health(bad_mac=1, bad_decrypt=2, last_error_at=START)
    assert [health.errors(kind) for kind in ErrorKind] == [1, 2]
    assert [kind.label for kind in ErrorKind] == ["Bad MAC", "Bad Decrypt"]
