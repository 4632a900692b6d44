"""What an operator is told to do next."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from wa_sessions.actions.watch.advice import needs_operator, next_step
from wa_sessions.actions.watch.stats import SessionErrorStats
from wa_sessions.cli.watch.stats import wrapped

NUMBER = "77051234567"
NOW = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)


def phone(**known: Any) -> SessionErrorStats:
    """A phone of ours that a worker runs, with nothing wrong but what is ``known``."""
    told: dict[str, Any] = {
        "phone_id": 1,
        "phone": NUMBER,
        "organization_id": 1,
        "display_name": None,
        "connection_type": "neonize",
        "status": "reconnecting",
        "state": "connected",
        "state_detail": None,
        "state_since": NOW,
        "retry_at": None,
        "is_healthy": None,
        "severity": "unknown",
        "unknown_because": "not_connected",
        "unknown_reason": "not connected",
        "last_error_at": None,
        "last_error_kind": None,
        "last_connected_at": None,
        "worker": None,
        "logs_read_at": None,
        "qr_waits": False,
        "closed_by": None,
        "uncounted_because": None,
        "uncounted_reason": None,
        "closed_in_logs_at": None,
        "force_closed_at": None,
        "force_closed_by": None,
        "force_closed_reason": None,
        "observed": True,
    }
    counters = (
        "bad_mac_errors",
        "bad_decrypt_errors",
        "messages_recovered",
        "messages_lost",
        "messages_pending",
        "messages_uncounted",
        "inbox_waiting",
        "inbox_dead",
    )
    limits = {"max_bad_mac_errors": 3, "max_bad_decrypt_errors": 5}
    return SessionErrorStats(**(told | dict.fromkeys(counters, 0) | limits | {"inbox_oldest_seconds": None} | known))


def test_a_session_that_crashed_once_needs_nobody_and_is_not_the_networks_fault() -> None:
    found = phone(state="crashed", retry_at=NOW + timedelta(seconds=40))
    assert not needs_operator(found)
    assert next_step(found) == (
        "wait: it connects again by itself in a new process; if that goes on, the worker's log says why; how often: "
        f"wa-sessions timeline {NUMBER}"
    )


def test_a_session_that_is_left_alone_for_half_an_hour_is_named_with_a_way_to_try_at_once() -> None:
    found = phone(state="crashed", retry_at=NOW + timedelta(minutes=30))
    assert needs_operator(found)
    assert str(next_step(found)).endswith(f"to try before its next attempt: wa-sessions restart {NUMBER}")


def test_a_session_that_wa_sessions_itself_failed_with_is_named() -> None:
    found = phone(state="faulted", state_detail="x " * 500, unknown_because="no_worker", observed=False)
    assert needs_operator(found)
    assert str(next_step(found)).endswith(f"to try again: wa-sessions run {NUMBER}")
    assert "x x" not in str(next_step(found)), "stats says the reason one line above"


def test_a_session_that_hangs_is_named() -> None:
    found = phone(unknown_because="no_sign_of_life", observed=False)
    assert needs_operator(found)
    assert "stop it and start it again" in str(next_step(found))


@pytest.mark.parametrize(
    ("where", "command"),
    [({}, "relink"), ({"unknown_because": "no_worker", "observed": False}, "run")],
)
def test_keys_in_quarantine_come_back_by_commands_that_can_be_typed(where: dict[str, Any], command: str) -> None:
    known = {"state": "force_closed", "status": "logged_out", "closed_by": "op-20260115-7f3k9q"}
    advice = str(next_step(phone(**known, **where)))
    assert "wa-sessions restore op-20260115-7f3k9q;" in advice
    assert advice.endswith(f"wa-sessions {command} {NUMBER}")
    gone = next_step(phone(**known | {"closed_by": None}, **where))
    assert gone == f"link it again by QR: wa-sessions {command} {NUMBER}"


@pytest.mark.parametrize(
    ("known", "advice"),
    [
        ({"inbox_dead": 1}, f"1 message is set aside: wa-sessions inbox {NUMBER} --dead"),
        ({"inbox_dead": 2}, f"2 messages are set aside: wa-sessions inbox {NUMBER} --dead"),
        (
            {"inbox_waiting": 3, "inbox_oldest_seconds": 300.0},
            f"a message has waited 5 min for its handler: wa-sessions inbox {NUMBER}",
        ),
        (
            {"inbox_dead": 1, "inbox_waiting": 1, "inbox_oldest_seconds": 900.0},
            f"1 message is set aside: wa-sessions inbox {NUMBER} --dead",
        ),
    ],
)
def test_messages_that_somebody_should_look_at_are_named(known: dict[str, Any], advice: str) -> None:
    found = phone(severity="ok", unknown_because=None, **known)
    assert next_step(found) == advice
    assert needs_operator(found)


def test_messages_that_wait_for_a_moment_need_nobody() -> None:
    found = phone(severity="ok", unknown_because=None, inbox_waiting=3, inbox_oldest_seconds=299.0)
    assert next_step(found) is None
    assert not needs_operator(found)


def test_what_the_session_needs_comes_before_its_messages() -> None:
    away = {"unknown_because": "no_worker", "observed": False, "inbox_waiting": 1, "inbox_oldest_seconds": 900.0}
    assert next_step(phone(**away)) == f"no worker runs it: wa-sessions run {NUMBER}"
    assert next_step(phone(**away, inbox_dead=1)) == (
        f"no worker runs it: wa-sessions run {NUMBER}; 1 message is set aside: wa-sessions inbox {NUMBER} --dead"
    )


def test_lines_fit_and_no_command_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    known = {"state": "force_closed", "status": "logged_out", "closed_by": "op-20260115-7f3k9q"}
    lines = wrapped(f"next: {next_step(phone(**known))}")
    assert max(map(len, lines)) <= 80
    for command in ("wa-sessions restore op-20260115-7f3k9q", f"wa-sessions relink {NUMBER}"):
        assert any(command in line for line in lines)
