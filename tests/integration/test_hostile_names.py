"""A backend with hostile phones: what each command shows of them steers nothing."""

import json
import re

import pytest
from support.fleet import Fleet

from wa_sessions import cli

TITLE = "\x1b]0;owned\x07"
NAMES = [f"{TITLE}name", "\x9b31mC1", "two\r\nlines\u2028three", "\u202eevil", '=HYPERLINK("http://x")', "-2+3"]
COMMANDS = (
    ["sessions"], ["report"], ["errors"], ["metrics"], ["check", "--all"], ["operations"], ["alerts", "list"],
    ["stats", "ID"], ["timeline", "ID"], ["errors", "ID"], ["keys", "ID"], ["rename", "ID", "\x1b[2Jx"],
)  # fmt: skip


@pytest.fixture
def hostile(fleet: Fleet) -> list[str]:
    """The ids of phones whose names, JIDs, statuses and history are what strangers like to write."""
    ids = []
    insert = """INSERT INTO public."OrganizationPhone"
        ("organizationId", "phoneJid", status, "displayName", "updatedAt")
        VALUES (1, %s, %s, %s, now()) RETURNING id"""
    for name in NAMES:
        (row,) = fleet.sql(insert, f"{name}7@s.whatsapp.net", name, name)
        ids.append(str(row["id"]))
        detail = {"reason": name, "sender": name, "chat": name, "actor": name, "error_kind": "bad_mac", "count": 3}
        event = "INSERT INTO wa_sessions.event (phone_id, organization_id, kind, detail) VALUES (%s, 1, %s, %s)"
        for kind in ("session_closed", "error_counted", "force_closed", name):
            fleet.sql(event, row["id"], kind, json.dumps(detail | {"message_id": name, "error": name}))
        fleet.sql("INSERT INTO wa_sessions.operation (id, action, reason, actor) VALUES (%s, %s, %s, %s)", *[name] * 4)
    return ids


@pytest.mark.parametrize("output", ["table", "json", "tsv"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_nothing_that_is_shown_steers(fleet: Fleet, hostile: list[str], words: list[str], output: str) -> None:
    for id_ in hostile if "ID" in words else hostile[:1]:
        done = fleet(*(f"#{id_}" if word == "ID" else word for word in words), "-o", output)
        assert "internal error" not in done.err
        assert done.out or done.err
        for text in (done.out, done.err):
            steering = {letter for letter in text if not letter.isprintable() and letter not in "\n\t"}
            assert steering == set()
        rows = done.out.splitlines()
        if output == "tsv":
            assert len({row.count("\t") for row in rows}) <= 1
            assert not [cell for row in rows for cell in row.split("\t") if cell.startswith(("=", "@", "-2+"))]


def test_nothing_is_offered_that_a_shell_would_obey(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    insert = """INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", status, "updatedAt")
        VALUES (1, %s, 'x', now())"""
    for jid in ("7705;reboot", "7705$(reboot)", "7705`reboot`", "7705 reboot", "7705\x1b[2J", "7705\nreboot"):
        fleet.sql(insert, f"{jid}@s.whatsapp.net")
    monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", fleet.url)
    for shell in ("bash", "zsh", "fish"):
        monkeypatch.setenv(cli.COMPLETE_VARIABLE, f"complete_{shell}")
        assert cli.execute(["stats", "7705"]) == 0
        words = [re.split(r"[:\t]", line)[0] for line in capsys.readouterr().out.splitlines()]
        assert words
        assert all(map(str.isdecimal, words))
