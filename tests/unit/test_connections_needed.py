"""The arithmetic of connections, before a worker begins."""

import pytest

from wa_sessions.actions.sessions.connections_needed import Need
from wa_sessions.db.server import Limit
from wa_sessions.errors import DatabaseError, ExitCode
from wa_sessions.worker import log


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(log, "warn", lambda message, **_: said.append(message))
    return said


def test_what_cannot_work_is_refused_with_the_sum() -> None:
    with pytest.raises(DatabaseError) as error:
        Need(5, 9, 29).judge(Limit("the server", 100, 3, 77))
    assert error.value.exit_code is ExitCode.NO_DATABASE
    assert str(error.value) == (
        "needs at least 34 connections to Postgres: 5 for the worker, 29 for 29 sessions; the server has 20 left of "
        "100 (3 reserved, 77 used by others): raise that limit, run fewer phones here, or put a pooler in front of the "
        "key store (--store-url)"
    )


def test_what_may_not_work_is_said(warned: list[str]) -> None:
    Need(5, 9, 1).judge(Limit("the role app", 10, 0, 0))
    [said] = warned
    assert said.startswith(
        "may need 11 connections to Postgres: 9 for the worker, 2 for 1 session; the role app has 10 "
    )


@pytest.mark.parametrize(("left", "sessions"), [(11, 1), (9, 0), (69, 30)])
def test_what_works_is_not_spoken_of(warned: list[str], left: int, sessions: int) -> None:
    Need(5, 9, sessions).judge(Limit("the server", left, 0, 0))
    assert warned == []


def test_more_in_use_than_there_may_be_leaves_none() -> None:
    """A limit that was lowered since, or the server's own superuser on reserved places."""
    assert Limit("the server", 10, 3, 9).left == 0
