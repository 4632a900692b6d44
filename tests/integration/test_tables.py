"""Tables as people and pipes see them: whole, the worst first, narrow where the terminal is."""

import re

import pytest
from support.corpus import BUFFERS, LOGGED_OUT, PAIRED, PENDING
from support.fleet import Fleet

NAME = "a name that is too long to be shown whole at eighty columns"
TITLES = ["PHONE", "ORG", "NAME", "STATUS", "HEALTH", "MAC", "DEC", "KEYS", "CONNECTED", "STORE", "WORKER"]


@pytest.fixture
def named(fleet: Fleet) -> Fleet:
    fleet.sql("""UPDATE public."OrganizationPhone" SET "displayName" = %s""", NAME)
    return fleet


def _table(shown: str) -> list[str]:
    return shown.partition("\n\n")[0].splitlines()


def test_nothing_is_cut_where_no_terminal_is(named: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    header, *rows = _table(named("sessions").out)
    assert header.split() == TITLES
    assert len(rows) == 7
    assert all(NAME in row for row in rows)
    assert "…" not in "".join(rows)


@pytest.mark.parametrize(
    ("columns", "titles"),
    [
        ("200", TITLES),
        ("80", TITLES[:9]),
        ("70", TITLES[:8]),
        ("62", ["PHONE", "NAME", "STATUS", "HEALTH", "MAC", "DEC"]),
        ("50", ["PHONE", "NAME", "STATUS", "HEALTH"]),
        ("40", ["PHONE", "STATUS", "HEALTH"]),
    ],
)
def test_a_narrow_terminal_has_fewer_columns(
    named: Fleet, monkeypatch: pytest.MonkeyPatch, columns: str, titles: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    shown = named("sessions").out
    header, *rows = _table(shown)
    assert header.split() == titles
    assert max(map(len, shown.splitlines())) <= int(columns)
    assert all(BUFFERS not in row or BUFFERS in row.split() for row in rows)


def test_the_worst_of_three_hundred_phones_come_first_and_are_counted(fleet: Fleet) -> None:
    fleet.sql(
        """INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", "status", "updatedAt")
           SELECT 1, (79000000000 + n) || '@s.whatsapp.net', 'connected', now() FROM generate_series(1, 300) AS n"""
    )
    for phone_id, errors in ((1, 2), (3, 1), (7, 0)):
        fleet.sql("INSERT INTO wa_sessions.log_watch (phone_id, read_at) VALUES (%s, now())", phone_id)
        fleet.sql(
            """INSERT INTO wa_sessions.health (phone_id, organization_id, bad_mac_errors, bad_decrypt_errors,
                   counted_senders, messages_recovered, messages_lost, state, state_since, max_bad_mac,
                   max_bad_decrypt, version, updated_at)
               VALUES (%s, 1, %s, 0, '{}', 0, 0, 'idle', now(), 3, 5, 0, now())""",
            phone_id,
            errors,
        )
    shown = fleet("sessions").out
    _, *rows = _table(shown)
    assert [row.split()[0] for row in rows[:4]] == [LOGGED_OUT, PENDING, BUFFERS, PAIRED]
    assert rows[-1].split()[0] == "79269876543"
    summary = shown.partition("\n\n")[2].splitlines()[0]
    assert summary == "307 phones: 2 down, 1 critical, 1 warning, 302 unknown, 1 ok (times are UTC)"
    assert f"{PENDING}: a QR waits" in shown
    assert "nobody observes it: the Node backend runs it and its logs are not read" in " ".join(shown.split())
    assert "wa-sessions logs --pm2 NAME --record" in shown


def test_counters_of_a_phone_that_nobody_observes_are_not_told_as_if_of_now(fleet: Fleet) -> None:
    _, *rows = _table(fleet("sessions").out)
    assert all(re.search("\u2013  +\u2013 ", row) for row in rows)
    card = fleet("stats", BUFFERS).out
    assert re.search("Bad MAC +\u2013 of 3\n", card)


@pytest.mark.parametrize("zone", ["Asia/Almaty", "America/New_York"])
def test_all_commands_tell_times_in_one_zone_and_name_it(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    fleet.sql("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = '2020-01-15 16:00'""")
    fleet.json("clean-app-state", BUFFERS, "--yes", "--process-stopped")
    fleet.sql("UPDATE wa_sessions.operation SET at = date_trunc('day', now()) - interval '90 min'")
    fleet.sql("UPDATE wa_sessions.event SET at = date_trunc('day', now()) - interval '90 min'")
    assert "22:30" in fleet("operations").out
    assert "(UTC)" in fleet("operations").out
    assert "22:30:00" in fleet("timeline", BUFFERS).out
    assert "(UTC)" in fleet("timeline", BUFFERS).out
    assert " UTC to " in fleet("report").out
    assert "times are UTC" in fleet("sessions").out
