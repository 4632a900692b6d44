"""Each state of a phone has one line and one code, and the documentation shows that very line."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.checking import Known, Thresholds, Verdict, fleet_verdict, phone_verdict
from wa_sessions.health.limits import Limits, Severity, severity
from wa_sessions.health.reconnect import State, Status
from wa_sessions.health.unknown import Because, Unknown
from wa_sessions.wording.reasons import unknown_reason
from wa_sessions.wording.verdicts import fleet_line, phone_line, plugin_line, reason

PAGE = (Path(__file__).parents[2] / "docs" / "monitoring" / "README.md").read_text(encoding="utf-8")
PLAIN = Thresholds(timedelta(minutes=5))
CONNECTED = Known(
    phone="77051234567",
    connection_type=ConnectionType.NEONIZE,
    status=Status.CONNECTED,
    state=State.CONNECTED,
    severity=Severity.OK,
    unknown_because=None,
    unknown_reason=None,
    bad_mac=0,
    bad_decrypt=0,
    limits=Limits(),
    pending=0,
    lost=0,
    age=timedelta(seconds=2),
    keys=None,
)
UNKNOWN = {"severity": Severity.UNKNOWN}


def _known(**fields: Any) -> Known:
    """A phone, with the reason in words that its stats would have."""
    known = replace(CONNECTED, **fields)
    if known.unknown_because is None:
        return known
    kind, status, state = known.connection_type, known.status, known.state
    words = unknown_reason(Unknown(Because(known.unknown_because), kind, status, state))
    return replace(known, unknown_reason=words)


STATES: list[tuple[dict[str, Any], int, str]] = [
    ({}, 0, "WA-SESSIONS OK - 77051234567: connected, Bad MAC 0 of 3, Bad Decrypt 0 of 5"),
    (
        {"state": "reconnecting"},
        0,
        "WA-SESSIONS OK - 77051234567: reconnecting, Bad MAC 0 of 3, Bad Decrypt 0 of 5",
    ),
    (
        {"severity": Severity.WARNING, "bad_mac": 1},
        1,
        "WA-SESSIONS WARNING - 77051234567: Bad MAC 1 of 3, Bad Decrypt 0 of 5",
    ),
    (
        {"severity": Severity.CRITICAL, "bad_mac": 2},
        2,
        "WA-SESSIONS CRITICAL - 77051234567: Bad MAC 2 of 3, Bad Decrypt 0 of 5: the next error closes it",
    ),
    (
        {"severity": Severity.CRITICAL, "bad_mac": 3, "connection_type": "baileys", "state": None},
        2,
        "WA-SESSIONS CRITICAL - 77051234567: Bad MAC 3 of 3, Bad Decrypt 0 of 5: the backend should have closed it",
    ),
    (
        {**UNKNOWN, "unknown_because": "not_connected", "status": "logged_out", "state": "pairing_expired"},
        2,
        "WA-SESSIONS CRITICAL - 77051234567: logged out",
    ),
    (
        {**UNKNOWN, "unknown_because": "no_worker"},
        2,
        "WA-SESSIONS CRITICAL - 77051234567: no worker runs it",
    ),
    (
        {"inbox_dead": 2},
        1,
        "WA-SESSIONS WARNING - 77051234567: 2 messages are set aside (wa-sessions inbox 77051234567 --dead)",
    ),
    ({"keys": 4}, 2, "WA-SESSIONS CRITICAL - 77051234567: 4 keys, fewer than 10"),
    (
        {**UNKNOWN, "unknown_because": "not_connected", "status": "disconnected", "state": "replaced"},
        3,
        "WA-SESSIONS UNKNOWN - 77051234567: not connected (replaced)",
    ),
    (
        {**UNKNOWN, "unknown_because": "baileys", "connection_type": "baileys", "state": None},
        3,
        "WA-SESSIONS UNKNOWN - 77051234567: nobody observes it: the Node backend runs it and its logs are not read",
    ),
    (
        {**UNKNOWN, "unknown_because": "waba", "connection_type": "waba", "state": None, "keys": 0},
        3,
        "WA-SESSIONS UNKNOWN - 77051234567: nobody observes it: the official API runs it",
    ),
    (
        {**UNKNOWN, "unknown_because": "no_schema", "state": None},
        3,
        "WA-SESSIONS UNKNOWN - 77051234567: nobody observes it: run wa-sessions db upgrade",
    ),
    (
        {**UNKNOWN, "unknown_because": "no_permission", "state": None},
        3,
        "WA-SESSIONS UNKNOWN - 77051234567: the database role may not read the schema wa_sessions",
    ),
    (
        {"age": timedelta(seconds=420)},
        3,
        "WA-SESSIONS UNKNOWN - 77051234567: last observed 420 s ago, more than 300 s",
    ),
]


@pytest.mark.parametrize(("fields", "code", "shown"), STATES, ids=[shown.partition(": ")[2] for _, _, shown in STATES])
def test_a_state_has_its_documented_line_and_code(fields: dict[str, Any], code: int, shown: str) -> None:
    thresholds = replace(PLAIN, few_keys=10 if "keys" in fields else None)
    judged = phone_verdict(_known(**fields), thresholds)
    assert judged.verdict == code
    assert phone_line(judged).partition(" | ")[0] == shown
    assert f"| {code} | `{shown}` |" in PAGE


def test_figures() -> None:
    shown = phone_line(
        phone_verdict(replace(CONNECTED, bad_mac=1, severity=Severity.WARNING, pending=2, lost=3), PLAIN)
    )
    assert shown.partition(" | ")[2] == (
        "bad_mac=1;0;1;0;3 bad_decrypt=0;0;3;0;5 pending=2;;;0 lost=3c;;;0"
        " inbox=0;;;0 inbox_dead=0;;;0 inbox_oldest=0s;300;1800;0"
    )
    few = Thresholds(timedelta(minutes=5), few_keys=10)
    gone = phone_verdict(_known(**UNKNOWN, unknown_because="no_worker", keys=185), few)
    assert phone_line(gone).partition(" | ")[2].startswith("bad_mac=U;0;1;0;3 bad_decrypt=U;0;3;0;5")
    assert phone_line(gone).endswith(" keys=185;;10:;0")


def test_figures_of_the_inbox() -> None:
    waits = replace(CONNECTED, inbox_waiting=7, inbox_dead=1, inbox_age=timedelta(minutes=6))
    later = replace(CONNECTED, inbox_waiting=2, inbox_age=timedelta(seconds=12.4))
    thresholds = replace(PLAIN, inbox_warning=timedelta(minutes=1))
    shown = phone_line(phone_verdict(waits, thresholds))
    assert shown.endswith(" inbox=7;;;0 inbox_dead=1;;;0 inbox_oldest=360s;60;1800;0")
    assert shown.startswith(
        "WA-SESSIONS WARNING - 77051234567: a message has waited 6 min for its handler; 1 message is set aside ("
    )
    critical = phone_verdict(replace(waits, status=Status.LOGGED_OUT), thresholds)
    assert critical.verdict is Verdict.CRITICAL
    assert reason(critical).startswith("logged out; 1 message is set aside")
    both = fleet_line([phone_verdict(known, PLAIN) for known in (waits, later)], PLAIN)
    assert both.endswith(" inbox=9;;;0 inbox_dead=1;;;0 inbox_oldest=360s;300;1800;0")
    unread = phone_verdict(replace(CONNECTED, severity=Severity.UNKNOWN, unknown_because=Because.NO_PERMISSION), PLAIN)
    assert phone_line(unread).endswith(" inbox=U;;;0 inbox_dead=U;;;0 inbox_oldest=U;300;1800;0")
    assert "inbox=U;;;0" in fleet_line([unread], PLAIN)


def test_what_stands_in_the_tables_needs_no_observer() -> None:
    few = Thresholds(timedelta(minutes=5), few_keys=10)
    stale = replace(CONNECTED, status=Status.LOGGED_OUT, age=timedelta(hours=1), keys=1)
    assert (phone_verdict(stale, few).verdict, reason(phone_verdict(stale, few))) == (
        2,
        "logged out; 1 key, fewer than 10",
    )


def test_a_fleet_has_the_worst_verdict_and_names_it() -> None:
    warned = replace(CONNECTED, phone="77010000001", severity=Severity.WARNING, bad_decrypt=1)
    gone = _known(phone="77010000002", severity=Severity.UNKNOWN, unknown_because="no_worker", lost=4)
    node = _known(phone="77010000003", severity=Severity.UNKNOWN, unknown_because="baileys")
    waba = replace(
        CONNECTED, connection_type=ConnectionType.WABA, severity=Severity.UNKNOWN, unknown_because=Because.WABA
    )
    fleet = [phone_verdict(known, PLAIN) for known in (CONNECTED, warned, gone, node, waba)]
    assert fleet_verdict(fleet) is Verdict.CRITICAL
    assert fleet_line(fleet, PLAIN) == (
        "WA-SESSIONS CRITICAL - 1 critical, 1 warning, 1 unknown, 1 ok: 77010000002 no worker runs it; 77010000001 Bad "
        "MAC 0 of 3, Bad Decrypt 1 of 5; 77010000003 nobody observes it: the Node backend runs it and its logs are not "
        "read | ok=1;;;0;4 warning=1;0;;0;4 critical=1;;0;0;4 unknown=1;;;0;4 pending=0;;;0 lost=4c;;;0 "
        "inbox=0;;;0 inbox_dead=0;;;0 inbox_oldest=0s;300;1800;0"
    )
    assert fleet_verdict([fleet[0], fleet[4]]) is Verdict.OK
    assert fleet_verdict([fleet[0], fleet[3]]) is Verdict.UNKNOWN
    assert fleet_verdict([fleet[1], fleet[3]]) is Verdict.WARNING
    for nobody in ([], [fleet[4]]):
        assert fleet_verdict(nobody) is Verdict.UNKNOWN
        assert fleet_line(nobody, PLAIN).startswith("WA-SESSIONS UNKNOWN - no phone to judge |")
    assert fleet_line([fleet[2]] * 9, PLAIN).partition(" | ")[0].endswith("; and 4 more")


def test_no_text_can_end_the_line_or_begin_figures() -> None:
    assert plugin_line(Verdict.UNKNOWN, "a | b\nc") == "WA-SESSIONS UNKNOWN - a / b c"


@given(
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from(["connected", "logged_out", "pending"]),
    st.integers(0, 600),
    st.none() | st.integers(0, 20),
    st.sampled_from([None, "waba", "baileys", "no_worker", "not_connected"]),
)
def test_warning_exactly_when_severity_is_warning(
    bad_mac: int, bad_decrypt: int, status: str, age: int, keys: int | None, because: str | None
) -> None:
    """The rules, once more in other words."""
    level = Severity.UNKNOWN if because else severity(bad_mac, bad_decrypt, Limits())
    kind = ConnectionType(because) if because in ("waba", "baileys") else ConnectionType.NEONIZE
    known = replace(
        CONNECTED,
        connection_type=kind,
        bad_mac=bad_mac,
        bad_decrypt=bad_decrypt,
        status=Status(status),
        age=timedelta(seconds=age),
        keys=None if kind == "waba" else keys,
        severity=level,
        unknown_because=Because(because) if because else None,
    )
    verdict = phone_verdict(known, Thresholds(timedelta(minutes=5), few_keys=10)).verdict
    few = kind != "waba" and keys is not None and keys < 10
    fresh = age <= 300
    critical = (level is Severity.CRITICAL and fresh) or status == "logged_out" or because == "no_worker" or few
    assert (verdict is Verdict.CRITICAL) == critical
    assert (verdict is Verdict.WARNING) == (level is Severity.WARNING and fresh and not critical)
    assert (verdict is Verdict.UNKNOWN) == (not critical and (because is not None or not fresh))
