"""Tables of other backends: it works, or one line says the column, its type and what is supported."""

import re
from pathlib import Path

from support.corpus import BUFFERS, LOGGED_OUT, PAIRED, PENDING, SEVENTH
from support.fleet import Answer, Fleet

from wa_sessions.actions.connection import open_target

TEXT_ORGANIZATION = """
    ALTER TABLE public."OrganizationPhone" ALTER "organizationId" TYPE text;
    ALTER TABLE public.baileys_auth ALTER "organizationId" TYPE text
"""
NULL_JID = """
    ALTER TABLE public."OrganizationPhone" ALTER "phoneJid" DROP NOT NULL;
    UPDATE public."OrganizationPhone" SET "phoneJid" = NULL WHERE id = 13
"""
JSON_VALUE = r"""
    DELETE FROM public.baileys_auth WHERE type = 'buffer';
    DELETE FROM public.baileys_auth WHERE convert_from(decode(value, 'base64'), 'utf8') ~ '\\u0000';
    ALTER TABLE public.baileys_auth ALTER value TYPE jsonb USING convert_from(decode(value, 'base64'), 'utf8')::jsonb
"""
ENUM_TYPE = """
    CREATE TYPE "ConnectionType" AS ENUM ('baileys', 'waba');
    ALTER TABLE public."OrganizationPhone" ALTER "connectionType" DROP DEFAULT,
        ALTER "connectionType" TYPE "ConnectionType" USING "connectionType"::"ConnectionType",
        ALTER "connectionType" SET DEFAULT 'baileys'
"""
ENUM_STATUS = """
    CREATE TYPE "PhoneStatus" AS ENUM ('PENDING', 'LOADING', 'CONNECTED', 'RECONNECTING', 'DISCONNECTED', 'LOGGED_OUT');
    ALTER TABLE public."OrganizationPhone" ALTER "status" DROP DEFAULT,
        ALTER "status" TYPE "PhoneStatus" USING upper("status")::"PhoneStatus"
"""
EVERYWHERE = (
    ("sessions",), ("check", "--all"), ("report",), ("metrics",), ("stats", BUFFERS), ("keys", BUFFERS),
    ("sessions", "--org", "1"), ("check", "--org", "1"), ("operations",), ("errors",), ("timeline", BUFFERS),
    ("clean-sessions", BUFFERS, "--dry-run"), ("clean-sessions", BUFFERS, "--peer", PAIRED, "--dry-run"),
    ("force-close", PAIRED, "--logout", "--yes", "--process-stopped"), ("adopt", SEVENTH, "--yes", "--process-stopped"),
    ("reset-status", LOGGED_OUT, "disconnected", "--yes"), ("qr", PENDING), ("add", "77050001122", "--org", "3"),
    ("rename", BUFFERS, "Desk"), ("clean-app-state", "all", "--yes", "--process-stopped"),
)  # fmt: skip


def _shaped(fleet: Fleet, statements: str) -> Fleet:
    fleet.sql(statements)
    return fleet


def _is_one_line(ended: Answer, *words: str) -> bool:
    return all(word in ended.err for word in words) and ended.err.count("\n") == 1 and ended.out == ""


def test_organizations_may_be_text(fleet: Fleet, tmp_path: Path) -> None:
    _shaped(fleet, TEXT_ORGANIZATION)
    log = tmp_path / "out.log"
    log.write_text("nothing\n")
    more = (
        ("logs", str(log)),
        ("logs", str(log), "--record"),
        ("backup", "all", str(tmp_path / "b"), "--no-encryption"),
    )
    for arguments in (*EVERYWHERE, *more):
        ended = fleet(*arguments)
        assert ended.code == 0 or arguments[0] == "check", (arguments, ended.err)
        assert "internal error" not in ended.err + ended.out
    assert fleet.json("keys", BUFFERS)["total"] > 0
    assert {one["organization_id"] for one in fleet.json("sessions")["sessions"]} == {1, 2, 3, 7}
    last = fleet.json("operations")["operations"][0]
    fleet.json("restore", last["operation"], "--process-stopped")
    returned = fleet("return", SEVENTH, "--yes")
    assert returned.code == 0, returned.err


def test_an_organization_that_is_no_number_is_left_out_alone(fleet: Fleet) -> None:
    _shaped(fleet, TEXT_ORGANIZATION)
    fleet.sql("""UPDATE public."OrganizationPhone" SET "organizationId" = 'acme' WHERE id = 13""")
    ended = fleet("sessions", "--json")
    assert len(ended.json["sessions"]) == 6
    assert """phone #13 is left out: its "organizationId" is 'acme'""" in ended.err
    assert """is 'acme'""" in fleet("check", "--all").err
    assert _is_one_line(fleet("stats", PENDING), "organizationId", "acme")
    fleet.sql("""UPDATE public."OrganizationPhone" SET "organizationId" = 'cm' || id""")
    assert _is_one_line(fleet("sessions"), "organizationId", "whole numbers")


def test_a_phone_without_a_jid_is_named_by_its_id(fleet: Fleet) -> None:
    before = {one["phone"]: one for one in fleet.json("sessions")["sessions"]}
    _shaped(fleet, NULL_JID)
    after = {one["phone"]: one for one in fleet.json("sessions")["sessions"]}
    assert after.keys() - before.keys() == {"#13"}
    assert {name: one for name, one in after.items() if name != "#13"} == {
        name: one for name, one in before.items() if name != PENDING
    }
    advice = re.sub(r"\n +", " ", fleet("stats", "#13").out)
    assert advice.rstrip().endswith("wa-sessions qr '#13'")
    assert fleet("qr", "#13").code == 0
    for arguments in EVERYWHERE:
        if PENDING not in arguments:
            ended = fleet(*arguments)
            assert ended.code == 0 or arguments[0] == "check", (arguments, ended.err)
    fleet.sql("""UPDATE public."OrganizationPhone" SET "connectionType" = 'neonize' WHERE id = 13""")
    assert _is_one_line(fleet("run", "#13"), '"phoneJid" is NULL')


def test_values_that_are_json_are_said_to_be(fleet: Fleet) -> None:
    _shaped(fleet, JSON_VALUE)
    before = fleet.phones()
    said = ('"value" of "baileys_auth"', "jsonb", "text and bytea")
    for arguments in (
        ("keys", PAIRED),
        ("adopt", PAIRED, "--yes", "--process-stopped"),
        ("reset-status", PAIRED, "pending", "--dry-run"),
    ):
        assert _is_one_line(fleet(*arguments), *said), arguments
    for words in (("sessions",), ("stats", PAIRED), ("report",), ("metrics",)):
        assert fleet(*words).code == 0, words
    assert fleet("check", "--all").out.startswith("WA-SESSIONS CRITICAL")
    assert fleet.phones() == before


def test_a_connection_type_that_is_an_enum_is_said_to_lack_ours(fleet: Fleet) -> None:
    _shaped(fleet, ENUM_TYPE)
    before = fleet.keys(), fleet.phones()
    said = ('"connectionType"', 'the enum "ConnectionType"', "neonize", "ALTER TYPE")
    for arguments in (
        ("add", "77050001122", "--org", "1"),
        ("adopt", PAIRED, "--yes", "--process-stopped"),
        ("assign", PAIRED, "neonize", "--process-stopped"),
    ):
        with open_target(fleet.database.target) as opened:
            assert opened.backend.enums["connectionType"][1] == ("baileys", "waba")
        assert _is_one_line(fleet(*arguments), *said), arguments
    assert (fleet.keys(), fleet.phones()) == before
    assert fleet("sessions").code == 0
    fleet.sql("""ALTER TYPE "ConnectionType" ADD VALUE 'neonize'""")
    assert fleet.json("add", "77050001122", "--org", "1")["connection_type"] == "neonize"
    assert fleet("adopt", PAIRED, "--yes", "--process-stopped").code == 0


def test_statuses_may_be_an_enum_in_capitals(fleet: Fleet) -> None:
    _shaped(fleet, ENUM_STATUS)
    for arguments in EVERYWHERE:
        ended = fleet(*arguments)
        assert ended.code == 0 or arguments[0] == "check", (arguments, ended.err)
    status = """SELECT status::text FROM public."OrganizationPhone" WHERE id = %s"""
    assert fleet.sql(status, 3) == [{"status": "LOGGED_OUT"}]
    assert fleet("force-close", BUFFERS, "--yes").code == 5
    assert _is_one_line(
        fleet("reset-status", PENDING, "paused", "--force", "--yes"), '"status"', "PhoneStatus", "paused"
    )
