"""What operators do to a Node backend's phones and keys: planned exactly, done wholly, undone byte for byte."""

import json
import threading
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from support import corpus
from support.corpus import BUFFERS, LOGGED_OUT, PAIRED, PENDING, SEVENTH, SEVENTH_PAIRED, SHAPES, WABA
from support.fleet import Fleet

from wa_sessions.actions.connection import open_target
from wa_sessions.actions.engine import carry_out
from wa_sessions.actions.engine.plan import Scope
from wa_sessions.actions.repair.repairs import clean_sessions
from wa_sessions.db import leases
from wa_sessions.db.settings import Target
from wa_sessions.keys.phone_ref import PhoneRef

PEER = "77071000148"  # of BUFFERS: devices 0, 2 and 18
DESTRUCTIVE = {
    "app state": ("clean-app-state", BUFFERS),
    "app state of an organization": ("clean-app-state", BUFFERS, "1"),
    "app state with keys": ("clean-app-state", PAIRED, "--with-keys"),
    "sessions": ("clean-sessions", SEVENTH),
    "recipe": ("clean-sessions", SEVENTH_PAIRED, "--recipe"),
    "peer": ("clean-sessions", BUFFERS, "--peer", PEER),
    "logout": ("force-close", BUFFERS, "--logout"),
    "status": ("reset-status", LOGGED_OUT, "disconnected"),
    "everybody's app state": ("clean-app-state", "all"),
    "sessions of an organization": ("clean-sessions", "all", "--org", "7"),
    "logout of an organization": ("force-close", "all", "--org", "2", "--logout"),
    "everybody's status": ("reset-status", "all", "loading"),
}


def _stopped(arguments: tuple[str, ...]) -> tuple[str, ...]:
    return arguments if arguments[0] == "reset-status" else (*arguments, "--process-stopped")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_dry_run_says_what_is_done_and_restore_undoes_it(fleet: Fleet, shape: str) -> None:
    with fleet.database.transaction() as conn:
        conn.execute('DELETE FROM public."OrganizationPhone"')
        corpus.load(conn, shape)
    for arguments in map(_stopped, DESTRUCTIVE.values()):
        before, rows, phones = fleet.everything(), fleet.keys(), fleet.phones()
        planned = fleet.json(*arguments, "--dry-run")
        assert fleet.everything() == before, arguments
        done = fleet.json(*arguments, "--yes")
        decided = {"operation": None, "undo": None, "dry_run": True}
        assert {name: value for name, value in done.items() if name not in decided} | decided == planned
        assert (done["matched"], done["left"]) == (done["quarantined"], 0)
        assert len(rows) - len(fleet.keys()) == done["quarantined"] == fleet.quarantined(done["operation"])
        assert sum(done["by_type"].values()) == done["quarantined"]
        assert done["undo"] == f"wa-sessions restore {done['operation']}"
        restored = fleet.json("restore", done["operation"], "--process-stopped")
        assert restored["keys"] == done["quarantined"]
        assert fleet.keys() == rows, arguments
        assert [row["row"] | {"qrCode": None} for row in phones] == [
            row["row"] | {"qrCode": None} for row in fleet.phones()
        ]


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (("clean-app-state", BUFFERS), r"^app-state-sync-version-"),
        (("clean-app-state", BUFFERS, "--with-keys"), r"^app-state-sync-"),
        (("clean-sessions", BUFFERS), r"^(session|sender-key|sender-key-memory)-"),
        (("clean-sessions", BUFFERS, "--recipe"), r"^(session|pre-key|sender-key)-"),
        (("clean-sessions", BUFFERS, "--peer", "+7 707 100-01-48"), rf"^session-{PEER}\.|^sender-key-.*::{PEER}::"),
        (("force-close", BUFFERS, "--logout"), r"."),
    ],
    ids=str,
)
def test_exactly_the_keys_that_are_meant_go(fleet: Fleet, arguments: tuple[str, ...], pattern: str) -> None:
    meant = fleet.sql(
        'SELECT count(*) AS n FROM public.baileys_auth WHERE "organizationId" = 1 AND "phoneJid" = %s AND "key" ~ %s',
        BUFFERS,
        pattern,
    )[0]["n"]
    others = fleet.sql("""SELECT "key" FROM public.baileys_auth WHERE "phoneJid" <> %s ORDER BY 1""", BUFFERS)
    done = fleet.json(*arguments, "--yes", "--process-stopped")
    assert done["quarantined"] == meant > 0
    left = 'SELECT count(*) AS n FROM public.baileys_auth WHERE "phoneJid" = %s AND "key" ~ %s'
    assert fleet.sql(left, BUFFERS, pattern) == [{"n": 0}]
    assert fleet.sql("""SELECT "key" FROM public.baileys_auth WHERE "phoneJid" <> %s ORDER BY 1""", BUFFERS) == others


def test_a_peer_is_found_under_its_number_and_its_lid(fleet: Fleet) -> None:
    value = "convert_from(decode(\"value\", 'base64'), 'UTF8')::jsonb #>> '{}'"
    [peer] = fleet.sql(
        f"""SELECT split_part("key", '-', 3) AS lid, number FROM (
                SELECT replace("key", '_reverse', '') AS "key", {value} AS number FROM public.baileys_auth
                WHERE "phoneJid" = %s AND "key" ~ '^lid-mapping-.*_reverse$'
            ) AS mapping
            WHERE EXISTS (SELECT FROM public.baileys_auth
                          WHERE "key" = 'session-' || split_part(mapping."key", '-', 3) || '_1.0')
            ORDER BY 1 LIMIT 1""",
        SEVENTH,
    )
    lid, number = peer["lid"], peer["number"]
    there = """SELECT count(*) AS n FROM public.baileys_auth WHERE "phoneJid" = %s AND "key" ~ %s"""
    sessions = fleet.sql(there, SEVENTH, rf"^session-({lid}_1|{number})\.")[0]["n"]
    for spelling in (number, f"{number}@s.whatsapp.net", f"{lid}@lid", lid, f"{lid}:7@lid"):
        found = fleet.json("clean-sessions", SEVENTH, "--peer", spelling, "--dry-run", "--process-stopped")
        assert found["by_type"]["session"] == sessions > 0


def test_a_number_that_begins_like_another_and_another_organization_are_left_alone(fleet: Fleet) -> None:
    longer = f"{BUFFERS}8"
    fleet.sql(
        """INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", "updatedAt") VALUES (1, %s, now())""",
        f"{longer}@s.whatsapp.net",
    )
    for organization, number in ((1, longer), (7, BUFFERS)):
        fleet.sql(
            """INSERT INTO public.baileys_auth SELECT %s, %s, "key", "value", "type" FROM public.baileys_auth
               WHERE "organizationId" = 1 AND "phoneJid" = %s""",
            organization,
            number,
            BUFFERS,
        )
    count = """SELECT "organizationId" AS org, "phoneJid" AS phone, count(*) AS n FROM public.baileys_auth
               WHERE "phoneJid" LIKE %s GROUP BY 1, 2 ORDER BY 1, 2"""
    before = {(row["org"], row["phone"]): row["n"] for row in fleet.sql(count, f"{BUFFERS}%")}
    stopped = fleet("force-close", BUFFERS, "--logout", "--yes", "--process-stopped")
    assert (stopped.code, stopped.out) == (2, "")
    assert "organization 1 and, with auth keys only, 7" in stopped.err
    done = fleet.json("force-close", BUFFERS, "--org", "1", "--logout", "--yes", "--process-stopped")
    assert done["quarantined"] == before.pop((1, BUFFERS))
    assert {(row["org"], row["phone"]): row["n"] for row in fleet.sql(count, f"{BUFFERS}%")} == before


def test_what_the_node_process_would_write_back_is_not_touched(fleet: Fleet) -> None:
    before = fleet.everything()
    for arguments in (("clean-app-state", BUFFERS), ("clean-sessions", "all"), ("force-close", BUFFERS, "--logout")):
        refused = fleet(*arguments, "--yes")
        assert (refused.code, refused.out) == (5, "")
        assert "--stop-command" in refused.err
    planned = fleet("clean-app-state", BUFFERS, "--dry-run", "--json")
    assert (planned.json["quarantined"], "--process-stopped" in planned.err) == (5, True)
    assert fleet.everything() == before
    quiet = fleet.json("clean-app-state", LOGGED_OUT, "--yes")
    refused = fleet("restore", fleet.json("clean-app-state", BUFFERS, "--yes", "--process-stopped")["operation"])
    assert refused.code == 5
    assert fleet.json("restore", quiet["operation"])["keys"] == quiet["quarantined"]


def test_the_node_process_is_stopped_around_a_repair(fleet: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "log"
    stop, start = ("--stop-command", f"echo stop >> {log}"), ("--start-command", f"echo start >> {log}")
    done = fleet.json("clean-app-state", BUFFERS, "--yes", *stop, *start)
    assert done["quarantined"] == 5
    assert log.read_text().split() == ["stop", "start"]
    back = fleet.json("restore", done["operation"], *stop, *start)
    assert back["keys"] == 5
    assert log.read_text().split() == ["stop", "start"] * 2
    before = fleet.everything()
    fleet.json("clean-app-state", BUFFERS, "--dry-run", *stop, *start)
    assert len(log.read_text().split()) == 4
    failed = fleet("clean-app-state", BUFFERS, "--yes", "--stop-command", "exit 3", *start)
    assert failed.code == 1
    assert "nothing was changed" in failed.err
    assert log.read_text().split()[4:] == ["start"]
    assert fleet.everything() == before
    alone = fleet("clean-app-state", BUFFERS, "--yes", "--stop-command", "true")
    assert (alone.code, "--start-command" in alone.err) == (2, True)
    down = fleet("clean-app-state", BUFFERS, "--yes", "--stop-command", "true", "--start-command", "exit 4")
    assert down.code == 1
    assert "THE NODE PROCESS IS DOWN" in down.err


def test_the_commands_of_the_node_process_can_be_configured(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WA_SESSIONS_STOP_COMMAND", f"echo stop >> {tmp_path}/log")
    monkeypatch.setenv("WA_SESSIONS_START_COMMAND", f"echo start >> {tmp_path}/log")
    fleet.json("clean-sessions", "all", "--yes", "--org", "1")
    assert (tmp_path / "log").read_text().split() == ["stop", "start"]


def test_newer_rows_are_not_overwritten_unless_one_insists(fleet: Fleet) -> None:
    done = fleet.json("clean-app-state", LOGGED_OUT, "--yes")
    fleet.sql(
        "INSERT INTO public.baileys_auth VALUES (2, %s, 'app-state-sync-version-regular', 'bmV3', 'base64_json')",
        LOGGED_OUT,
    )
    before = fleet.everything()
    refused = fleet("restore", done["operation"])
    assert refused.code == 1
    assert "newer rows" in refused.err
    assert "--overwrite" in refused.err
    assert fleet.everything() == before
    planned = fleet.json("restore", done["operation"], "--overwrite", "--dry-run")
    assert (planned["quarantined"], planned["keys"]) == (1, 5)
    assert fleet.everything() == before
    assert fleet("restore", done["operation"], "--overwrite").code == 6
    insisted = fleet.json("restore", done["operation"], "--overwrite", "--yes")
    assert (insisted["quarantined"], insisted["keys"]) == (1, 5)
    undo = insisted["undo"].split()[1:]
    assert fleet.json(*undo, "--yes")["keys"] == 1
    value = (
        """SELECT "value" FROM public.baileys_auth WHERE "phoneJid" = %s AND "key" = 'app-state-sync-version-regular'"""
    )
    assert fleet.sql(value, LOGGED_OUT) == [{"value": "bmV3"}]


def test_an_old_pairing_does_not_replace_a_newer_one_unless_one_insists(fleet: Fleet) -> None:
    closed = fleet.json("force-close", BUFFERS, "--logout", "--yes", "--process-stopped")
    assert fleet.sql('SELECT "status" FROM public."OrganizationPhone" WHERE id = 1') == [{"status": "logged_out"}]
    fleet.sql(
        """INSERT INTO public.baileys_auth SELECT 1, %s, "key", "value", "type" FROM public.baileys_auth
           WHERE "phoneJid" = %s""",
        BUFFERS,
        PAIRED,
    )
    newer = fleet.keys()
    cleaned = fleet.json("clean-sessions", BUFFERS, "--yes")
    refused = fleet("restore", closed["operation"])
    assert refused.code == 1
    assert "paired anew" in refused.err
    fleet.json("restore", cleaned["operation"])
    assert fleet.keys() == newer
    insisted = fleet.json("restore", closed["operation"], "--overwrite", "--yes")
    assert insisted["keys"] == closed["quarantined"]
    assert fleet.sql('SELECT "status" FROM public."OrganizationPhone" WHERE id = 1') == [{"status": "connected"}]
    fleet.json(*insisted["undo"].split()[1:], "--yes", "--process-stopped")
    assert fleet.keys() == newer


def test_part_of_a_pairing_does_not_come_back_without_the_rest(fleet: Fleet) -> None:
    cleaned = fleet.json("clean-sessions", LOGGED_OUT, "--yes")
    closed = fleet.json("force-close", LOGGED_OUT, "--logout", "--yes")
    refused = fleet("restore", cleaned["operation"])
    assert (refused.code, "restore the operation that took it first" in refused.err) == (1, True)
    fleet.json("restore", closed["operation"])
    fleet.json("restore", cleaned["operation"])


def test_nothing_to_take_is_no_error_and_asks_nothing(fleet: Fleet) -> None:
    for arguments in (("clean-app-state", PENDING), ("clean-sessions", PENDING)):
        done = fleet.json(*arguments)
        assert (done["operation"], done["matched"], done["undo"]) == (None, 0, None)
    assert fleet.json("operations") == {"operations": []}


@pytest.mark.parametrize("arguments", [("clean-sessions", BUFFERS), ("clean-sessions", "all")], ids=str)
def test_two_operators_at_once_take_each_key_once(fleet: Fleet, target: Target, arguments: tuple[str, str]) -> None:
    who = None if arguments[1] == "all" else PhoneRef(arguments[1])
    start, done = threading.Barrier(3), []

    def clean() -> None:
        with open_target(target) as opened:
            planned = carry_out.plan(opened, clean_sessions(), Scope(who), process_stopped=True)
            start.wait()
            done.append(carry_out.carry_out(opened, planned))

    rows = len(fleet.keys())
    threads = [threading.Thread(target=clean) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 3
    taken = [changed.taken.quarantined for changed in done]
    assert sum(taken) == rows - len(fleet.keys()) > 0
    for changed in done:
        assert (changed.operation is not None) == bool(changed.taken.quarantined)
        if changed.operation:
            assert fleet.quarantined(changed.operation) == changed.taken.quarantined
    twice = """SELECT row ->> 'key' FROM wa_sessions.quarantine
               GROUP BY row ->> 'organizationId', row ->> 'phoneJid', row ->> 'key' HAVING count(*) > 1"""
    assert fleet.sql(twice) == []


def test_many_phones_are_changed_in_batches_under_one_operation(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry_out, "MOST_PHONES", 2)
    planned = fleet.json("force-close", "all", "--logout", "--dry-run", "--process-stopped")
    assert len(planned["phones"]) == 6
    done = fleet.json("force-close", "all", "--logout", "--yes", "--process-stopped")
    assert {name: planned[name] for name in ("matched", "quarantined", "left", "by_type", "phones")} == {
        name: done[name] for name in ("matched", "quarantined", "left", "by_type", "phones")
    }
    assert fleet.keys() == []
    [listed] = fleet.json("operations")["operations"]
    assert (listed["operation"], listed["keys"], len(listed["phones"])) == (done["operation"], done["quarantined"], 6)
    assert fleet.json("operations", BUFFERS)["operations"] == fleet.json("operations", "--org", "7")["operations"]
    monkeypatch.setattr(carry_out, "MOST_KEYS", 1)
    fleet.json("restore", done["operation"])
    assert fleet.json("clean-app-state", "all", "--yes", "--process-stopped")["quarantined"] > 5


def test_the_status_is_one_that_the_backend_knows(fleet: Fleet) -> None:
    refused = fleet("reset-status", PENDING, "offline", "--yes")
    assert (refused.code, "--force" in refused.err) == (2, True)
    qr = """SELECT "status", "qrCode" IS NOT NULL AS qr FROM public."OrganizationPhone" WHERE "phoneJid" LIKE %s"""
    for status, kept in (("pending", True), ("logged_out", False)):
        done = fleet.json("reset-status", PENDING, status, "--yes")
        assert fleet.sql(qr, f"{PENDING}@%") == [{"status": status, "qr": kept}]
    assert done["undo"]
    fleet.json("restore", done["operation"])
    assert fleet.sql(qr, f"{PENDING}@%") == [{"status": "pending", "qr": False}]
    assert fleet.json("reset-status", PENDING, "Ждёт ☎", "--force", "--yes")["status"] == "Ждёт ☎"
    for odd in ("", "a\nb", "x" * 51):
        assert fleet("reset-status", PENDING, odd, "--force", "--yes").code == 2
    assert fleet.json("reset-status", WABA, "disconnected", "--yes")["status"] == "disconnected"


def test_quarantine_is_purged_when_it_is_old_enough(fleet: Fleet) -> None:
    old = fleet.json("clean-app-state", LOGGED_OUT, "--yes")
    new = fleet.json("clean-sessions", LOGGED_OUT, "--yes")
    fleet.sql("UPDATE wa_sessions.operation SET at = at - interval '20 days' WHERE id = %s", old["operation"])
    before = fleet.everything()
    assert fleet("quarantine", "purge", "--older-than", "14d").code == 6
    planned = fleet.json("quarantine", "purge", "--older-than", "14d", "--dry-run")
    assert fleet.everything() == before
    done = fleet.json("quarantine", "purge", "--older-than", "14d", "--yes")
    assert done | {"dry_run": True} == planned
    assert (done["purged"], done["left"], done["operations"]) == (5, new["quarantined"], [old["operation"]])
    refused = fleet("restore", old["operation"])
    assert (refused.code, "purged" in refused.err) == (1, True)
    assert fleet.json("restore", new["operation"])["keys"] == new["quarantined"]
    assert fleet.json("quarantine", "purge", "--older-than", "14d")["purged"] == 0
    for odd in ("soon", "14", "-1d", "1y"):
        assert fleet("quarantine", "purge", "--older-than", odd).code == 2
    undo = {one["operation"]: one["undo"] for one in fleet.json("operations")["operations"]}
    assert undo == {old["operation"]: None, new["operation"]: None}


def test_a_phone_that_was_added_can_be_removed_and_comes_back(fleet: Fleet) -> None:
    refused = fleet("remove", BUFFERS, "--yes")
    assert (refused.code, "remove it there" in refused.err) == (5, True)
    added = fleet.json("add", "77059999999", "--org", "1", "--name", 'O\'Neil "☎"')
    phones = fleet.phones()
    assert fleet("remove", "77059999999").code == 6
    planned = fleet.json("remove", "77059999999", "--dry-run")
    assert fleet.phones() == phones
    done = fleet.json("remove", "77059999999", "--yes")
    assert (done["quarantined"], done["by_type"]) == (1, {"phone": 1}) == (planned["quarantined"], planned["by_type"])
    assert fleet("stats", "77059999999").code == 3
    assert fleet.json("operations", f"#{added['phone_id']}")["operations"][0]["action"] == "remove"
    assert fleet.json("restore", done["operation"])["phone_id"] == added["phone_id"]
    assert fleet.phones() == phones
    fleet.sql("""CREATE TABLE public."Chat" (phone int REFERENCES public."OrganizationPhone" (id) ON DELETE CASCADE)""")
    refused = fleet("remove", "77059999999", "--yes")
    assert (refused.code, '"Chat" refer' in refused.err) == (2, True)


def test_what_right_is_missing_is_said_and_nothing_is_changed(fleet: Fleet, target: Target) -> None:
    fleet.sql(
        """DROP SCHEMA wa_sessions CASCADE; DROP SCHEMA whatsmeow CASCADE;
           DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN;
           GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"""
    )
    url = fleet.url
    fleet.url = url.replace("postgres@", "reader@")
    before = fleet.keys(), fleet.phones()
    for arguments in (("sessions",), ("stats", BUFFERS), ("keys", BUFFERS), ("keys", BUFFERS, "--list")):
        assert fleet(*arguments).code == 0
    for words in map(_stopped, DESTRUCTIVE.values()):
        for more in (["--yes"], ["--dry-run"]):
            refused = fleet(*words, *more)
            assert (refused.code, refused.out) == (1, ""), words
            right = "UPDATE" if words[0] == "reset-status" else "DELETE from"
            assert right in refused.err
            assert "db upgrade" in refused.err
    for others in (("restore", "op-1"), ("operations",), ("quarantine", "purge", "--older-than", "1d", "--yes")):
        assert fleet(*others).code == 1
    assert (fleet.keys(), fleet.phones()) == before
    with psycopg.connect(make_conninfo(target.conninfo), autocommit=True) as conn:
        conn.execute("DROP OWNED BY reader")
        conn.execute("DROP ROLE reader")


def test_a_count_is_typed_before_many_phones_are_changed(fleet: Fleet) -> None:
    refused = fleet("force-close", "all", "--logout", "--process-stopped")
    assert (refused.code, "6 phones" in refused.err) == (6, True)


def test_an_organization_without_phones_is_said(fleet: Fleet) -> None:
    for arguments in (("clean-app-state", "all", "99"), ("reset-status", "all", "loading", "--org", "99")):
        refused = fleet(*arguments, "--yes")
        assert (refused.code, "organization 99" in refused.err) == (3, True)


def test_all_phones_that_were_added_can_be_removed(fleet: Fleet) -> None:
    refused = fleet("remove", "all", "--yes")
    assert (refused.code, "remove it there" in refused.err) == (5, True)
    for number in ("77050000001", "77050000002"):
        fleet.json("add", number, "--org", "5")
    phones = fleet.phones()
    done = fleet.json("remove", "all", "--org", "5", "--yes")
    assert (len(done["phones"]), done["quarantined"]) == (2, 2)
    assert fleet("sessions", "--org", "5").out == "no phones\n"
    again = fleet.json("add", "77050000001", "--org", "5")
    partly = fleet("restore", done["operation"])
    assert (partly.code, "1 of 2 phones stay as they are" in partly.err) == (1, True)
    assert "stands at another phone" in partly.err
    fleet.json("remove", f"#{again['phone_id']}", "--yes")
    fleet.json("restore", done["operation"])
    assert fleet.phones() == phones


def test_a_phone_that_cannot_be_changed_does_not_hold_the_others(fleet: Fleet) -> None:
    """Its session is locked by a worker whose lease has run out."""
    with psycopg.connect(fleet.url) as holder:
        holder.execute("SELECT pg_advisory_lock(%s::int, 3)", (leases.LOCK_CLASS,))
        ended = fleet("clean-app-state", "all", "--process-stopped", "--yes", "--json")
    assert ended.code == 1
    assert "1 of 5 phones stay as they are" in ended.err
    done = json.loads(ended.out)
    assert [one["phone"] for one in done["failed"]] == [PAIRED]
    assert (len(done["phones"]), done["quarantined"]) == (4, fleet.quarantined(done["operation"]))
    assert done["undo"]


@pytest.mark.parametrize("insisting", [(), ("--overwrite", "--yes")])
def test_a_row_that_has_another_number_since_keeps_that(fleet: Fleet, insisting: tuple[str, ...]) -> None:
    done = fleet.json("force-close", PAIRED, "--logout", "--process-stopped", "--yes")["operation"]
    renumber = """UPDATE public."OrganizationPhone" SET "phoneJid" = %s WHERE id = 3"""
    fleet.sql(renumber, "77012223344@s.whatsapp.net")
    before = fleet.everything()
    refused = fleet("restore", done, "--process-stopped", *insisting)
    assert (refused.code, fleet.everything()) == (1, before)
    assert f"phone #3 has the number 77012223344 since {done}, which is of {PAIRED}" in refused.err
    fleet.sql(renumber, f"{PAIRED}@s.whatsapp.net")
    assert fleet.json("restore", done, "--process-stopped", *insisting)["keys"] == fleet.quarantined(done)


def test_a_row_that_was_paired_with_another_number_since_can_go_back_and_forth(fleet: Fleet) -> None:
    done = fleet.json("force-close", PAIRED, "--logout", "--process-stopped", "--yes")["operation"]
    fleet.sql("""UPDATE public."OrganizationPhone" SET "phoneJid" = '77012223344@s.whatsapp.net' WHERE id = 3""")
    fleet.sql("INSERT INTO public.baileys_auth VALUES (1, '77012223344', 'creds', '{}', 'json')")
    keys, numbers = fleet.keys(), [row["row"]["phoneJid"] for row in fleet.phones()]
    assert "--overwrite puts what stands there into quarantine" in fleet("restore", done, "--process-stopped").err
    room = fleet.json("restore", done, "--process-stopped", "--overwrite", "--yes")["undo"].split()[2]
    assert [row["row"]["phoneJid"] for row in fleet.phones() if row["row"]["id"] == 3] == [
        f"{PAIRED}:27@s.whatsapp.net"
    ]
    assert fleet.json("restore", room, "--process-stopped", "--overwrite", "--yes")["quarantined"] == 185
    assert (fleet.keys(), [row["row"]["phoneJid"] for row in fleet.phones()]) == (keys, numbers)


def test_of_many_phones_those_are_restored_that_can_be(fleet: Fleet) -> None:
    keys = fleet.keys()
    done = fleet.json("force-close", "all", "--org", "2", "--logout", "--process-stopped", "--yes")
    fleet.sql(
        """INSERT INTO public.baileys_auth SELECT 2, %s, "key", "value", "type" FROM public.baileys_auth
           WHERE "phoneJid" = %s AND "key" = 'creds'""",
        SEVENTH,
        PAIRED,
    )
    ended = fleet("restore", done["operation"], "--json")
    assert (ended.code, "paired anew" in ended.err) == (1, True)
    back = json.loads(ended.out)
    assert [one["phone"] for one in back["failed"]] == [SEVENTH]
    assert {one["phone"] for one in back["phones"]} == {LOGGED_OUT, PENDING}
    [rest] = fleet.json("restore", done["operation"], "--phone", SEVENTH, "--overwrite", "--yes")["phones"]
    assert (rest["phone"], rest["overwritten"], rest["status"]) == (SEVENTH, 1, "connected")
    assert fleet.keys() == keys
    assert fleet.json("restore", done["operation"], "--org", "2")["already"]
    assert fleet("restore", done["operation"], "--org", "1").code == 3


def test_quarantine_is_purged_for_one_organization_alone(fleet: Fleet) -> None:
    done = fleet.json("clean-app-state", "all", "--process-stopped", "--yes")
    theirs = sum(part["quarantined"] for part in done["phones"] if part["organization_id"] == 7)
    planned = fleet.json("quarantine", "purge", "--older-than", "0s", "--org", "7", "--dry-run")
    purged = fleet.json("quarantine", "purge", "--older-than", "0s", "--org", "7", "--yes")
    assert (planned["purged"], planned["left"]) == (purged["purged"], purged["left"]) == (theirs, 0)
    assert fleet.quarantined(done["operation"]) == done["quarantined"] - theirs > 0
    back = fleet.json("restore", done["operation"], "--process-stopped")
    assert back["keys"] == done["quarantined"] - theirs


def test_a_status_of_ours_does_not_hide_the_node_process(fleet: Fleet) -> None:
    fleet.json("reset-status", BUFFERS, "disconnected", "--yes")
    for refused in (("clean-sessions", BUFFERS), ("force-close", BUFFERS), ("clean-sessions", BUFFERS)):
        assert fleet(*refused, "--yes").code == 5
    fleet.sql('UPDATE public."OrganizationPhone" SET "status" = \'logged_out\' WHERE id = 1')
    assert fleet("clean-app-state", BUFFERS, "--yes").code == 0
    fleet.json("force-close", PAIRED, "--logout", "--process-stopped", "--yes")
    assert fleet("clean-app-state", PAIRED, "--yes").code == 0
