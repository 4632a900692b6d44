"""``adopt`` and ``return`` on keys that real Baileys wrote: wholly or not at all, undone while nobody has used them."""

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from support import corpus
from support.backup_fixtures import Key, opened
from support.corpus import BUFFERS, LOGGED_OUT, PAIRED, PENDING, SEVENTH, SEVENTH_PAIRED, SHAPES, WABA
from support.fleet import Fleet
from tenacity import Retrying, stop_after_delay, wait_fixed

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine import carry_out
from wa_sessions.actions.engine.carry_out import make, plan
from wa_sessions.actions.engine.plan import Scope
from wa_sessions.actions.move import adopt_and_run
from wa_sessions.actions.move.adopt import Adopt, AdoptItem
from wa_sessions.actions.move.adopt_and_run import Trial
from wa_sessions.actions.move.return_phone import Return
from wa_sessions.db import backend, commands, key_transfer, phones
from wa_sessions.db.gateway import Connection
from wa_sessions.db.phones import Phone
from wa_sessions.errors import Conflict, DatabaseAway, OwnedByAnother
from wa_sessions.keys.baileys.rows import Row
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.worker.lease_times import LeaseTimes
from wa_sessions.worker.ownership import Ownership

LINKED = {BUFFERS, PAIRED, SEVENTH, SEVENTH_PAIRED, LOGGED_OUT}
STOPPED = ("--process-stopped", "--yes")
STORE = ("whatsmeow_device", "whatsmeow_sessions", "whatsmeow_sender_keys", "whatsmeow_pre_keys")
NOT_CARRIED = {"sender-key-memory", "device-list"}


def _store(fleet: Fleet) -> dict[str, int]:
    return {table: int(fleet.sql(f"SELECT count(*) AS n FROM whatsmeow.{table}")[0]["n"]) for table in STORE}


def _everything(fleet: Fleet) -> tuple[object, ...]:
    return *fleet.everything(), _store(fleet)


def _types(fleet: Fleet) -> dict[str, str]:
    rows = fleet.sql("""SELECT "phoneJid", "connectionType" AS type FROM public."OrganizationPhone" """)
    return {row["phoneJid"].split("@")[0].split(":")[0]: row["type"] for row in rows}


@pytest.mark.parametrize("shape", SHAPES)
def test_all_go_over_and_come_back(fleet: Fleet, shape: str) -> None:
    with fleet.database.transaction() as conn:
        conn.execute('DELETE FROM public."OrganizationPhone"')
        corpus.load(conn, shape)
    before, keys, phones = _everything(fleet), fleet.keys(), fleet.phones()
    planned = fleet("adopt", "all", "--dry-run", "--json")
    assert planned.code == 1
    assert _everything(fleet) == before
    answer = fleet("adopt", "--all", "--json", *STOPPED)
    assert (answer.code, f"1 of 6 phones stay as they are: {PENDING} stays" in answer.err) == (1, True)
    done, plan = json.loads(answer.out), json.loads(planned.out)
    assert {phone["phone"] for phone in done["phones"]} == LINKED
    assert [failed["phone"] for failed in done["failed"]] == [PENDING]
    assert done["phones"] == plan["phones"]
    assert {name: kind for name, kind in _types(fleet).items() if kind == "neonize"}.keys() == LINKED
    assert (
        fleet.sql(f"""SELECT "key" FROM public."{fleet.auth}" WHERE "key" = 'creds' AND "phoneJid" <> %s""", PENDING)
        == []
    )
    for phone in done["phones"]:
        counted = fleet.json("keys", phone["phone"])
        assert counted["by_type"] == phone["keys_after"]
        assert {remark["key"] for remark in phone["left_out"]} <= NOT_CARRIED
        carried = {kind: n for kind, n in phone["keys_before"].items() if kind in ("session", "pre-key", "creds")}
        assert carried.items() <= phone["keys_after"].items()
    restored = fleet.json("restore", done["operation"], "--process-stopped")
    assert restored["keys"] == sum(sum(phone["keys_before"].values()) for phone in done["phones"])
    assert (fleet.keys(), _store(fleet)) == (keys, before[-1])
    assert [_without_qr(row) for row in fleet.phones()] == [_without_qr(row) for row in phones]


def _without_qr(row: dict[str, Any]) -> dict[str, Any]:
    return {**row["row"], "qrCode": None}


def test_once_the_keys_were_used_only_return_leads_back(fleet: Fleet) -> None:
    adopted = fleet.json("adopt", SEVENTH, *STOPPED)
    fleet.sql("UPDATE whatsmeow.whatsmeow_sessions SET session = session || ' '::bytea")
    stays = fleet("restore", adopted["operation"], "--process-stopped")
    assert (stays.code, "wa-sessions return 79269876543 converts" in stays.err) == (1, True)
    returned = fleet.json("return", SEVENTH, "--yes")
    assert _types(fleet)[SEVENTH] == "baileys"
    [phone] = returned["phones"]
    assert fleet.json("keys", SEVENTH)["by_type"] == phone["keys_after"]
    assert _store(fleet) == dict.fromkeys(STORE, 0)
    stays = fleet("restore", adopted["operation"], "--process-stopped")
    assert (stays.code, "is a baileys phone by now" in stays.err) == (1, True)
    fleet.json("restore", returned["operation"], "--process-stopped")
    assert _types(fleet)[SEVENTH] == "neonize"
    undone = fleet.json("operations", SEVENTH)["operations"]
    assert [one["action"] for one in undone] == ["undo_return", "return", "adopt"]
    again = fleet("restore", undone[0]["operation"], "--process-stopped")
    assert (again.code, "do it again with wa-sessions return" in again.err) == (1, True)


def test_a_device_that_only_moved_is_not_unlinked(fleet: Fleet) -> None:
    """It is the very device that the phone uses now."""
    adopted = fleet.json("adopt", SEVENTH, *STOPPED)
    fleet.json("restore", adopted["operation"], "--process-stopped")
    fleet.json("adopt", SEVENTH, *STOPPED)
    fleet.json("return", SEVENTH, "--yes")
    moves = [one["operation"] for one in fleet.json("operations", SEVENTH)["operations"]]
    assert len(moves) == 4
    for operation in moves:
        _refused(fleet, 1, "in use where it is now", "unlink", operation, "--yes")


def test_the_way_back_has_what_stood_in_creds_before(fleet: Fleet) -> None:
    """Much of ``creds`` has no place in whatsmeow's store; a phone that nobody used comes back as it was."""

    def creds() -> dict[str, Any]:
        [row] = fleet.sql(
            """SELECT "value" FROM public.baileys_auth WHERE "phoneJid" = %s AND "key" = 'creds'""", PAIRED
        )
        value: dict[str, Any] = json.loads(base64.b64decode(row["value"]))
        return value

    before = creds()
    fleet.json("adopt", PAIRED, *STOPPED)
    fleet.json("return", PAIRED, "--yes")
    changed = {name for name, value in creds().items() if value != before.get(name)}
    assert changed <= {"firstUnuploadedPreKeyId", "nextPreKeyId"}
    assert creds().keys() == before.keys()


def _halves(creds: dict[str, Any]) -> None:
    creds["noiseKey"]["public"] = creds["signedIdentityKey"]["public"]


def _signature(creds: dict[str, Any]) -> None:
    creds["signedPreKey"]["signature"]["data"] = base64.b64encode(bytes(64)).decode()


def _account(creds: dict[str, Any]) -> None:
    creds["account"]["deviceSignature"] = {"type": "Buffer", "data": base64.b64encode(bytes(64)).decode()}


def _unpaired(creds: dict[str, Any]) -> None:
    del creds["me"], creds["account"]


def _another(creds: dict[str, Any]) -> None:
    creds["me"]["id"] = "77050000000:3@s.whatsapp.net"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_halves, "the halves of noiseKey do not belong together"),
        (_signature, "the signature of the signed pre-key is wrong"),
        (_account, "this device's signature of the account is wrong"),
        (_unpaired, "the phone was never paired"),
        (_another, "its keys are those of another number (77050000000)"),
    ],
)
def test_bad_keys_are_refused_with_a_reason(fleet: Fleet, damage: Callable[[dict[str, Any]], None], words: str) -> None:
    [row] = fleet.sql("""SELECT "value" FROM public.baileys_auth WHERE "phoneJid" = %s AND "key" = 'creds'""", PAIRED)
    creds = json.loads(base64.b64decode(row["value"]))
    damage(creds)
    value = base64.b64encode(json.dumps(creds).encode()).decode()
    fleet.sql(
        """UPDATE public.baileys_auth SET "value" = %s WHERE "phoneJid" = %s AND "key" = 'creds'""", value, PAIRED
    )
    _refused(fleet, 1, words, "adopt", PAIRED, *STOPPED)


def _refused(fleet: Fleet, code: int, words: str, *arguments: str) -> None:
    before = _everything(fleet)
    answer = fleet(*arguments)
    assert (answer.code, words in answer.err, answer.out) == (code, True, ""), answer
    assert _everything(fleet) == before


def test_what_stands_in_the_way_is_refused(fleet: Fleet) -> None:
    _refused(fleet, 5, "--process-stopped", "adopt", PAIRED, "--yes")
    _refused(fleet, 6, "not confirmed", "adopt", PAIRED, "--process-stopped")
    _refused(fleet, 5, "waba phone", "adopt", WABA, *STOPPED)
    _refused(fleet, 5, "nothing of ours", "return", PAIRED, "--yes")
    _refused(fleet, 2, "which phone?", "adopt", *STOPPED)
    _refused(fleet, 2, "--run takes one phone", "adopt", "all", "--run", *STOPPED)
    _refused(
        fleet, 2, "--on-message-url is for --run", "adopt", PAIRED, "--on-message-url", "http://localhost/", *STOPPED
    )
    _refused(fleet, 3, "no phone 77050000001", "adopt", "77050000001", *STOPPED)
    fleet.sql("UPDATE whatsmeow.whatsmeow_version SET version = 99")
    _refused(fleet, 4, "of version 99", "adopt", PAIRED, *STOPPED)
    fleet.sql("UPDATE whatsmeow.whatsmeow_version SET version = 15")
    fleet.json("adopt", PAIRED, *STOPPED)
    _refused(fleet, 5, "ours already", "adopt", PAIRED, *STOPPED)
    fleet.sql("""UPDATE public."OrganizationPhone" SET "connectionType" = 'baileys' WHERE id = 3""")
    _refused(fleet, 1, "there is no such row", "adopt", PAIRED, *STOPPED)


@pytest.mark.parametrize("command", [("adopt", PAIRED, "--process-stopped"), ("return", PAIRED)])
def test_a_database_that_is_not_the_backends_is_said(fleet: Fleet, command: tuple[str, ...]) -> None:
    fleet.sql('ALTER TABLE public."OrganizationPhone" RENAME TO elsewhere')
    answer = fleet(*command, "--yes")
    assert (answer.code, answer.out) == (4, "")
    assert 'no table "OrganizationPhone" in this database' in answer.err


def test_a_device_that_is_there_and_keys_that_are_there_are_refused(fleet: Fleet) -> None:
    row = """INSERT INTO public.baileys_auth SELECT * FROM public.kept"""
    fleet.sql('CREATE TABLE public.kept AS SELECT * FROM public.baileys_auth WHERE "phoneJid" = %s', PAIRED)
    fleet.json("adopt", PAIRED, *STOPPED)
    fleet.sql(row)
    _refused(fleet, 1, "two sets of keys are one too many", "return", PAIRED, "--yes")
    fleet.sql("""UPDATE public."OrganizationPhone" SET "connectionType" = 'baileys' WHERE id = 3""")
    _refused(fleet, 1, "the store has a device of it already", "adopt", PAIRED, *STOPPED)


def test_a_map_of_lids(fleet: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "lids.csv"
    file.write_text("# LID, number\n99000000001,77019990053\n99000000002@lid\t77019990054@s.whatsapp.net\n")
    fleet.json("adopt", PAIRED, "--lid-map", str(file), *STOPPED)
    pairs = fleet.sql("SELECT lid, pn FROM whatsmeow.whatsmeow_lid_map WHERE lid LIKE '9900000000_' ORDER BY 1")
    assert [tuple(pair.values()) for pair in pairs] == [("99000000001", "77019990053"), ("99000000002", "77019990054")]
    file.write_text("hello\n")
    _refused(fleet, 2, "line 1: write a LID and a number", "adopt", BUFFERS, "--lid-map", str(file), *STOPPED)


def test_the_node_process_is_stopped_and_started_around_it(fleet: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "log"
    node = ("--stop-command", f"echo stop >> {log}", "--start-command", f"echo start >> {log}", "--yes")
    fleet.json("adopt", PAIRED, *node)
    fleet.json("return", PAIRED, *node)
    assert log.read_text().split() == ["stop", "start", "stop", "start"]


@pytest.mark.parametrize("output", ["table", "tsv"])
def test_for_people(fleet: Fleet, output: str) -> None:
    shown = fleet("adopt", PAIRED, "-o", output, *STOPPED)
    assert shown.code == 0
    assert max(map(len, shown.out.splitlines())) <= 80 or output == "tsv"
    assert f"connect: wa-sessions run {PAIRED}" in shown.err
    story = fleet("timeline", PAIRED).out
    assert "taken over from the Node backend" in story


def _closed_and_brought_back_from_a_file(fleet: Fleet, tmp_path: Path, start: str = "adopt") -> str:
    """An adopted phone that was closed and came back from a backup: the close still has the same pairing."""
    if start == "adopt":
        fleet.json("adopt", SEVENTH, *STOPPED)
    file = str(tmp_path / "backup.age")
    fleet.json("backup", SEVENTH, file)
    closed: str = fleet.json("force-close", SEVENTH, "--logout", *STOPPED)["operation"]
    fleet.json("restore", "--file", file, "--overwrite", *STOPPED)
    return closed


@pytest.mark.parametrize("way", ["return", "export"])
def test_keys_that_went_on_elsewhere_since_stay_in_quarantine(fleet: Fleet, key: Key, tmp_path: Path, way: str) -> None:
    closed = _closed_and_brought_back_from_a_file(fleet, tmp_path)
    words = (SEVENTH, str(tmp_path / "away.age")) if way == "export" else (SEVENTH,)
    moved = fleet.json(way, *words, "--yes")["operation"]
    for insisting in ((), ("--overwrite",)):
        _refused(fleet, 1, f"went on since {closed}, in {moved}", "restore", closed, *insisting, *STOPPED)
    _refused(fleet, 1, "in use where it is now", "unlink", closed, "--dry-run")


def test_old_keys_do_not_come_back_over_an_adopted_phone(fleet: Fleet, key: Key, tmp_path: Path) -> None:
    closed = _closed_and_brought_back_from_a_file(fleet, tmp_path, start="node")
    adopted = fleet.json("adopt", SEVENTH, *STOPPED)["operation"]
    for insisting in ((), ("--overwrite",)):
        _refused(fleet, 1, f"went on since {closed}, in {adopted}", "restore", closed, *insisting, *STOPPED)


def test_what_an_ordinary_operation_took_since_may_be_passed_over(fleet: Fleet, key: Key, tmp_path: Path) -> None:
    closed = _closed_and_brought_back_from_a_file(fleet, tmp_path)
    again = fleet.json("force-close", SEVENTH, "--logout", "--yes")["operation"]
    _refused(fleet, 1, f"wa-sessions restore {again}", "restore", closed, "--yes")
    assert fleet.json("restore", closed, "--overwrite", "--yes")["keys"] > 0


def test_a_device_that_stands_in_the_node_backends_table_is_not_unlinked(fleet: Fleet) -> None:
    fleet.sql('CREATE TABLE public.kept AS SELECT * FROM public.baileys_auth WHERE "phoneJid" = %s', SEVENTH)
    fleet.json("adopt", SEVENTH, *STOPPED)
    closed = fleet.json("force-close", SEVENTH, "--logout", "--yes")["operation"]
    assert fleet.json("unlink", closed, "--dry-run")["device"] == f"{SEVENTH}:2@s.whatsapp.net"
    fleet.sql("INSERT INTO public.baileys_auth SELECT * FROM public.kept WHERE key = 'creds'")
    _refused(fleet, 1, "stands in the Node backend's table", "unlink", closed, "--dry-run")


@pytest.mark.parametrize("insisting", [(), ("--overwrite",)])
def test_old_keys_of_the_node_backend_stay_away_from_our_phone(fleet: Fleet, insisting: tuple[str, ...]) -> None:
    cleaned = fleet.json("clean-sessions", SEVENTH, *STOPPED)["operation"]
    fleet.json("adopt", SEVENTH, *STOPPED)
    _refused(fleet, 1, f"adopted since: wa-sessions return {SEVENTH} first", "restore", cleaned, *insisting, *STOPPED)


def test_the_backup_of_before_leads_back(fleet: Fleet, key: Key, tmp_path: Path) -> None:
    """The way of docs/how-to/move-from-node.md."""
    file, keys = str(tmp_path / "before.age"), fleet.keys()
    fleet.json("backup", "all", file)
    fleet.json("adopt", SEVENTH, *STOPPED)
    back = ("restore", "--file", file, "--phone", SEVENTH, "--overwrite", *STOPPED)
    _refused(fleet, 1, f"adopted since: wa-sessions return {SEVENTH} first", *back)
    fleet.json("force-close", SEVENTH, "--logout", "--yes")
    _refused(fleet, 1, f"wa-sessions assign {SEVENTH} baileys first", *back)
    fleet.json("assign", SEVENTH, "baileys")
    fleet.json(*back)
    assert (fleet.keys(), _types(fleet)[SEVENTH]) == (keys, "baileys")


def test_without_the_column_the_node_backend_does_not_see_it(fleet: Fleet) -> None:
    fleet.sql('ALTER TABLE public."OrganizationPhone" DROP COLUMN "connectionType"')
    said = fleet("adopt", SEVENTH, *STOPPED).err
    assert "take the phone out of its own list first" in said
    assert "can be started again" not in said


def test_each_phone_that_stays_is_named(fleet: Fleet) -> None:
    fleet.sql(f"DELETE FROM public.{fleet.auth} WHERE \"phoneJid\" IN ('{corpus.BUFFERS}', '{corpus.PAIRED}')")
    seen = fleet("adopt", "all", "--dry-run")
    for number in (corpus.BUFFERS, corpus.PAIRED):
        assert f"{number} stays as it is: the key 'creds' cannot be read" in " ".join(seen.out.split())
    assert f"phones stay as they are: {corpus.BUFFERS} stays as it is" in seen.err


def test_a_dry_run_refuses_what_the_run_refuses(fleet: Fleet) -> None:
    fleet.sql("UPDATE whatsmeow.whatsmeow_version SET version = 99")
    _refused(fleet, 4, "of version 99", "adopt", PAIRED, "--dry-run")


def test_what_undoing_needs_is_not_pruned(fleet: Fleet) -> None:
    adopted = fleet.json("adopt", SEVENTH, *STOPPED)["operation"]
    fleet.sql("UPDATE wa_sessions.event SET at = now() - interval '1 year'")
    fleet.json("db", "prune", "--older-than", "90d", "--yes")
    assert fleet.json("restore", adopted, "--process-stopped")["keys"] > 0


def _in_organization_99(fleet: Fleet, kind: str) -> None:
    """A second row of a number that organization 7 has."""
    fleet.sql(
        """INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", status, "updatedAt", "connectionType")
           VALUES (99, %s, 'disconnected', now(), %s)""",
        f"{SEVENTH_PAIRED}@s.whatsapp.net",
        kind,
    )


def test_a_number_is_ours_in_one_row_only(fleet: Fleet, key: Key, tmp_path: Path) -> None:
    """The store has keys by number: with two rows it would be one device for both."""
    file, org7, org99 = str(tmp_path / "phone.age"), ("--org", "7"), ("--org", "99")
    fleet.json("export", SEVENTH_PAIRED, file, "--keep")
    _in_organization_99(fleet, "neonize")
    words = "as a neonize phone, #15 of organization 99"
    _refused(fleet, 5, words, "adopt", SEVENTH_PAIRED, *org7, *STOPPED)
    _refused(fleet, 5, words, "export", SEVENTH_PAIRED, str(tmp_path / "x.age"), *org7, *STOPPED)
    _refused(fleet, 5, words, "assign", SEVENTH_PAIRED, "neonize", *org7)
    fleet.sql('DELETE FROM public.baileys_auth WHERE "phoneJid" = %s', SEVENTH_PAIRED)
    _refused(fleet, 5, words, "import", file, "--as", "neonize", *STOPPED)
    fleet.json("assign", SEVENTH_PAIRED, "baileys", *org99)
    fleet.json("import", file, "--as", "neonize", *STOPPED)
    fleet.sql("""UPDATE public."OrganizationPhone" SET "connectionType" = 'neonize' WHERE id = 15""")
    _refused(fleet, 5, "as a neonize phone, #10 of organization 7", "return", SEVENTH_PAIRED, *org99, "--yes")


def _phone(fleet: Fleet, number: str) -> Phone:
    with fleet.database.transaction() as conn:
        return phones.find(conn, backend.detect(conn), PhoneRef(digits=number))


def test_a_worker_takes_no_lease_of_what_is_not_ours_by_now(fleet: Fleet) -> None:
    fleet.json("adopt", SEVENTH, *STOPPED)
    fleet.json("adopt", SEVENTH_PAIRED, *STOPPED)
    chosen, twice = _phone(fleet, SEVENTH), _phone(fleet, SEVENTH_PAIRED)
    fleet.json("return", SEVENTH, "--yes")
    _in_organization_99(fleet, "neonize")

    with fleet.database.transaction() as conn:
        ownership = Ownership(fleet.database, backend.detect(conn), uuid4(), LeaseTimes())
    for phone, words in ((chosen, "is a baileys phone by now"), (twice, "#15 of organization 99")):
        with pytest.raises(OwnedByAnother, match=words):
            ownership.take(phone.id)
    ownership.end()
    assert fleet.sql("SELECT phone_id FROM wa_sessions.lease WHERE expires_at > clock_timestamp()") == []


@pytest.mark.parametrize("status", ["reconnecting", "loading"])
def test_a_phone_that_node_tries_to_connect_does_not_move(fleet: Fleet, tmp_path: Path, status: str) -> None:
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = %s WHERE id = 3""", status)
    file = str(tmp_path / "x.age")
    _refused(fleet, 5, f"a baileys phone and {status}", "adopt", PAIRED, "--yes")
    _refused(fleet, 5, f"a baileys phone and {status}", "export", PAIRED, file, "--no-encryption", "--yes")


def test_undoing_a_move_stops_and_starts_the_node_process(fleet: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "log"
    node = ("--stop-command", f"echo stop >> {log}", "--start-command", f"echo start >> {log}")
    adopted = fleet.json("adopt", PAIRED, *STOPPED)["operation"]
    fleet.json("restore", adopted, *node)
    assert log.read_text().split() == ["stop", "start"]


def test_keys_that_stand_there_already_are_not_passed_over(fleet: Fleet) -> None:
    """Node's fresh creds, written between the look and the deed."""
    phone = _phone(fleet, PAIRED)
    with (
        fleet.database.transaction() as conn,
        pytest.raises(Conflict, match="keys were written by somebody else meanwhile \\(1\\)"),
    ):
        key_transfer.put_auth_keys(conn, backend.detect(conn), phone, [Row("creds", "e30=", "base64_json")])


@pytest.mark.parametrize("node_runs", [False, True])
def test_what_is_converted_is_what_was_taken(fleet: Fleet, node_runs: bool) -> None:
    """Node writes a session after the look at the keys, and before they are taken, as it may until it is stopped."""
    before = fleet.keys()
    with ThreadPoolExecutor() as pool:
        with fleet.database.transaction() as conn:
            conn.execute("LOCK TABLE wa_sessions.operation IN SHARE MODE")
            change, scope = Adopt(node_runs=node_runs), Scope(PhoneRef(digits=SEVENTH))
            adopting = pool.submit(make, opened(fleet.database), change, scope, process_stopped=True)
            _until_waiting(fleet)
            conn.execute(
                """INSERT INTO public.baileys_auth
                   SELECT "organizationId", "phoneJid", 'session-77000000001.0', value, type
                   FROM public.baileys_auth WHERE "phoneJid" = %s AND key LIKE 'session-%%' LIMIT 1""",
                (SEVENTH,),
            )
        if node_runs:
            adopting.result()
        else:
            with pytest.raises(Conflict, match="were written since they were looked at"):
                adopting.result()
    moved = fleet.sql("SELECT 1 AS yes FROM whatsmeow.whatsmeow_sessions WHERE their_id LIKE '77000000001%'")
    assert (bool(moved), len(fleet.keys()) > len(before)) == (node_runs, not node_runs)


def _until_waiting(fleet: Fleet) -> None:
    waiting = "SELECT 1 AS yes FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation'"
    for attempt in Retrying(stop=stop_after_delay(20), wait=wait_fixed(0.02), reraise=True):
        with attempt:
            assert fleet.sql(waiting)


def _owned(fleet: Fleet, phone: Phone) -> UUID:
    """A worker of another machine that has a phone."""
    worker = uuid4()
    fleet.sql("INSERT INTO wa_sessions.worker (id, host, pid, version) VALUES (%s, 'elsewhere', 1, '1')", worker)
    fleet.sql("DELETE FROM wa_sessions.lease")
    fleet.sql("INSERT INTO wa_sessions.lease VALUES (%s, %s, 1, now() + interval '1 hour')", phone.id, worker)
    return worker


def test_a_worker_keeps_a_phone_that_cannot_be_given_back(fleet: Fleet) -> None:
    fleet.json("adopt", SEVENTH, *STOPPED)
    phone = _phone(fleet, SEVENTH)
    fleet.sql("INSERT INTO public.baileys_auth VALUES (%s, %s, 'creds', 'x', 'creds')", phone.organization_id, SEVENTH)
    _owned(fleet, phone)
    with pytest.raises(Conflict, match=f"auth keys of {SEVENTH} stand in the Node backend's table already"):
        plan(opened(fleet.database), Return(), Scope())
    assert fleet.sql("SELECT verb FROM wa_sessions.command") == []


def test_what_fails_after_a_worker_has_let_go_says_so(fleet: Fleet) -> None:
    fleet.json("adopt", SEVENTH, *STOPPED)
    phone = _phone(fleet, SEVENTH)
    worker = _owned(fleet, phone)
    with ThreadPoolExecutor() as pool:
        returning = pool.submit(make, opened(fleet.database), Return(), Scope(PhoneRef(digits=SEVENTH)))
        for attempt in Retrying(stop=stop_after_delay(20), wait=wait_fixed(0.02), reraise=True):
            with attempt, fleet.database.transaction() as conn:
                [order] = commands.take(conn, worker)
                conn.execute("UPDATE wa_sessions.lease SET expires_at = clock_timestamp()")
                row = (phone.organization_id, SEVENTH)
                conn.execute("INSERT INTO public.baileys_auth VALUES (%s, %s, 'creds', 'x', 'creds')", row)
                commands.finish(conn, order.id, answer={"released": True})
        with pytest.raises(
            Conflict, match=rf"its worker has let {SEVENTH} go: wa-sessions run {SEVENTH} runs it again"
        ):
            returning.result()


def test_what_was_moved_is_said_though_the_database_goes(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Adopt):
        def apply(self, conn: Connection, opened: Opened, item: AdoptItem, *more: Any, **how: Any) -> Any:
            if item.phone.number == SEVENTH_PAIRED:
                raise DatabaseAway("the database is gone")
            return super().apply(conn, opened, item, *more, **how)

    monkeypatch.setattr(carry_out, "MOST_PHONES", 1)
    words = r"the database is gone; 4 of 5 phones were changed all the same: wa-sessions restore op-\S+ undoes that"
    with pytest.raises(DatabaseAway, match=words):
        make(opened(fleet.database), Broken(), Scope(), process_stopped=True)
    assert list(_types(fleet).values()).count("neonize") == 4


def test_a_value_that_looks_like_bytes(fleet: Fleet) -> None:
    fleet.sql("""UPDATE public.baileys_auth SET value = E'\\\\xzz' WHERE key = 'creds' AND "phoneJid" = %s""", PAIRED)
    _refused(fleet, 1, "creds", "adopt", PAIRED, *STOPPED)


def test_a_map_of_lids_that_cannot_be_read(fleet: Fleet, tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for file in (tmp_path / "none", tmp_path, binary):
        _refused(fleet, 2, "--lid-map: ", "adopt", PAIRED, "--lid-map", str(file), *STOPPED)


def test_what_was_moved_is_said_though_node_does_not_start(fleet: Fleet, key: Key, tmp_path: Path) -> None:
    node, file = ("--stop-command", "true", "--start-command", "false", "--yes"), str(tmp_path / "x.age")
    for words in (("adopt", PAIRED), ("return", PAIRED), ("export", PAIRED, file), ("import", file)):
        ended = fleet(*words, *node)
        [last] = fleet.json("operations", PAIRED, "--limit", "1")["operations"]
        assert f"wa-sessions restore {last['operation']}" in ended.out
        assert (ended.code, "THE NODE PROCESS IS DOWN" in ended.err) == (1, True)
        assert last["action"] == words[0]


@pytest.mark.parametrize(
    ("events", "failure"),
    [
        (["time_over"], "it did not connect within 7 s"),
        (["crashed", "time_over"], "it did not connect within 7 s (crashed)"),
        (["waiting_for_store", "time_over"], "it did not connect within 7 s (waiting for store)"),
        (["unreachable", "time_over"], "it did not connect within 7 s (unreachable)"),
        (["login_refused"], "it did not connect (login refused)"),
        (["connected", "crashed", "time_over"], None),
        (["connected", "decrypted", "logged_out"], None),
    ],
)
def test_a_takeover_on_trial(events: list[str], failure: str | None) -> None:
    trial = Trial(7)
    ended = [trial.handle_event(PAIRED, event, {}) for event in events]
    assert (trial.failure, any(ended)) == (failure, failure is not None)


_HANDLER = """import psycopg
with psycopg.connect({dsn!r}) as conn:
    conn.execute({sql!r})
raise {error}
"""
_LEASED = """INSERT INTO wa_sessions.lease VALUES (3, gen_random_uuid(), 1, now() + interval '1 hour')
    ON CONFLICT (phone_id) DO UPDATE SET worker_id = excluded.worker_id, expires_at = excluded.expires_at"""


@pytest.mark.parametrize(
    ("sql", "error", "words"),
    [
        ("SELECT 1", "KeyboardInterrupt", "(its old keys restored): --on-message shop_keybo:take: "),
        (_LEASED, "ValueError('no handler')", "AND IT COULD NOT GO BACK"),
    ],
)
def test_a_takeover_that_does_not_even_begin_to_run(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str, error: str, words: str
) -> None:
    """The operator's handler is imported after the takeover, in a process of its own, and before any session."""
    module = f"shop_{error[:5].lower()}"
    (tmp_path / f"{module}.py").write_text(_HANDLER.format(dsn=fleet.database.target.conninfo, sql=sql, error=error))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answer = fleet("adopt", PAIRED, "--run", "--on-message", f"{module}:take", *STOPPED)
    assert (answer.code, words in answer.err) == (1, True), answer.err
    assert _types(fleet)[PAIRED] == ("neonize" if sql == _LEASED else "baileys")
    [adopted] = [one for one in fleet.json("operations", PAIRED)["operations"] if one["action"] == "adopt"]
    assert f"wa-sessions restore {adopted['operation']}" in answer.err


def test_the_worker_of_a_takeover_has_every_handler_that_run_has(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its messages went to nobody where the handler is a URL, by option or variable."""
    begun: list[Any] = []
    monkeypatch.setattr(adopt_and_run, "run", lambda _opened, _refs, _org, options: begun.append(options))
    monkeypatch.setenv("WA_SESSIONS_HANDLER_URL", "http://127.0.0.1:9/hook")
    more = ["--handlers", "3", "--handler-attempts", "7", "--handler-timeout", "9s", "--on-dead", "hold"]
    fleet("adopt", PAIRED, "--run", *more, *STOPPED)
    [options] = begun
    assert (options.url, options.handlers, options.handler_timeout) == ("http://127.0.0.1:9/hook", 3, 9.0)
    assert (options.retry.attempts, options.retry.hold) == (7, True)
