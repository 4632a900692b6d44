"""A phone moves between two machines as a file: in its format or converted, wholly, and undone while that is safe."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import corpus
from support.backup_fixtures import Key, new_key, opened
from support.databases import EMPTY, Databases, url_of
from support.fleet import Fleet
from support.store import everything
from tenacity import Retrying, stop_after_delay, wait_fixed

from wa_sessions.actions.engine.carry_out import make
from wa_sessions.actions.engine.plan import Scope
from wa_sessions.actions.move.backup import Destination
from wa_sessions.actions.move.encryption import recipients
from wa_sessions.actions.move.export_phone import Export
from wa_sessions.db import backend, key_transfer, phones
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.errors import Conflict
from wa_sessions.keys.backup_format import Header, Reader, SavedPhone, SavedRow, Writer
from wa_sessions.keys.baileys.rows import BaileysPhone, Record, Row
from wa_sessions.keys.baileys.session import Session
from wa_sessions.keys.conversion.to_baileys import to_baileys
from wa_sessions.keys.key_types import key_type
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone

SEVENTH = corpus.SEVENTH_PAIRED
LOST = ("operation", "undo", "dry_run")


@pytest.fixture
def file(tmp_path: Path, key: Key) -> str:
    return str(tmp_path / "phone.age")


@pytest.fixture
def away(databases: Databases, server: EmbeddedServer, capsys: pytest.CaptureFixture[str]) -> Iterator[Fleet]:
    """Another machine's database, empty."""
    with databases.lend(EMPTY) as target, Database.open(target) as database:
        yield Fleet(database, url_of(server, target), capsys)


def auth(fleet: Fleet, number: str) -> list[tuple[Any, ...]]:
    """A phone's auth keys as text, whatever the shape of their table."""
    rows = fleet.sql(f'SELECT * FROM public."{fleet.auth}" WHERE "phoneJid" = %s ORDER BY "key"', number)
    values = [row["value"] for row in rows]
    texts = [bytes(value).decode() if isinstance(value, bytes) else value for value in values]
    return [(row["organizationId"], row["key"], text, row["type"]) for row, text in zip(rows, texts, strict=True)]


def store(fleet: Fleet) -> dict[str, Any]:
    """All rows of neonize's store, without the pre-key that a takeover makes at random."""
    with fleet.database.transaction() as conn:
        rows: dict[str, Any] = everything(conn)
        rows["lid_map"] = sorted(key_transfer.lid_map(conn))
    rows["whatsmeow_pre_keys"] = [row for row in rows["whatsmeow_pre_keys"] if row[-1]]
    return rows


def change(fleet: Fleet, number: str) -> None:
    """What a session does with its keys all the time."""
    fleet.sql("UPDATE whatsmeow.whatsmeow_device SET registration_id = registration_id + 1")
    fleet.sql(
        f"""UPDATE public."{fleet.auth}" SET "value" = 'newer' WHERE "phoneJid" = %s AND "key" LIKE 'session-%%'""",
        number,
    )


@pytest.mark.parametrize(("here", "there"), [("baileys_auth", "BaileysAuth-old"), ("BaileysAuth-old", "BaileysAuth")])
def test_a_node_phone_moves_there_and_back(fleet: Fleet, away: Fleet, file: str, here: str, there: str) -> None:
    for one, shape in ((fleet, here), (away, there)):
        with one.database.transaction() as conn:
            conn.execute('TRUNCATE public."OrganizationPhone"')
            corpus.load(conn, shape)
    away.sql(f'TRUNCATE public."OrganizationPhone", public."{away.auth}"')
    keys, others = auth(fleet, SEVENTH), auth(fleet, corpus.SEVENTH)
    left = fleet.json("export", SEVENTH, file, "--process-stopped", "--yes")
    assert (left["keys"], left["quarantined"], left["left"], left["verified"]) == (len(keys), len(keys), 0, True)
    assert (auth(fleet, SEVENTH), auth(fleet, corpus.SEVENTH)) == ([], others)
    came = away.json("import", file, "--yes")
    assert auth(away, SEVENTH) == keys
    [row] = away.phones()
    known = {name: row["row"][name] for name in ("organizationId", "phoneJid", "status", "connectionType")}
    assert known == {
        "organizationId": 7,
        "phoneJid": f"{SEVENTH}:61@s.whatsapp.net",
        "status": "disconnected",
        "connectionType": "baileys",
    }
    assert came["phones"][0]["keys_before"] == came["phones"][0]["keys_after"] == left["by_type"]
    away.json("export", SEVENTH, f"{file}.back", "--yes")
    fleet.json("import", f"{file}.back", "--yes")
    assert auth(fleet, SEVENTH) == keys
    assert auth(away, SEVENTH) == []


@pytest.mark.parametrize("number", [corpus.BUFFERS, SEVENTH])
def test_a_node_phone_becomes_ours_on_the_way(fleet: Fleet, away: Fleet, file: str, number: str) -> None:
    fleet.json("export", number, file, "--keep")
    tried = away.json("import", file, "--as", "neonize", "--dry-run")
    assert away.phones() == []
    came = away.json("import", file, "--as", "neonize", "--yes")
    assert {name: value for name, value in tried.items() if name not in (*LOST, "phones")} == {"failed": []}
    assert tried["phones"][0] | {"phone_id": 0} == came["phones"][0] | {"phone_id": 0}
    adopted = fleet.json("adopt", number, "--process-stopped", "--yes")
    assert store(away) == store(fleet)
    there = {**came["phones"][0], "phone_id": 0}
    assert there == {**adopted["phones"][0], "phone_id": 0}
    assert away.phones()[0]["row"]["connectionType"] == "neonize"


def test_our_phone_moves_with_the_lids_of_those_that_it_talks_to(fleet: Fleet, away: Fleet, file: str) -> None:
    fleet.json("adopt", SEVENTH, "--process-stopped", "--yes")
    before = store(fleet)
    fleet.sql("INSERT INTO whatsmeow.whatsmeow_lid_map VALUES ('1', '2')")
    left = fleet.json("export", SEVENTH, file, "--yes")
    assert left["left"] == 0
    assert not fleet.sql("SELECT jid FROM whatsmeow.whatsmeow_device")
    away.json("import", file, "--yes")
    came = store(away)
    assert came["lid_map"]
    assert set(came["lid_map"]) <= set(before["lid_map"])
    assert came | {"lid_map": None} == before | {"lid_map": None}


def test_our_phone_becomes_nodes_on_the_way(fleet: Fleet, away: Fleet, file: str) -> None:
    fleet.json("adopt", SEVENTH, "--process-stopped", "--yes")
    fleet.json("export", SEVENTH, file, "--keep")
    with fleet.database.transaction() as conn:
        device = WhatsmeowPhone.of_rows(key_transfer.device_rows(conn, f"{SEVENTH}:61@s.whatsapp.net"))
    came = away.json("import", file, "--as", "baileys", "--baileys", "7", "--yes")
    made = BaileysPhone.of_rows(Row(key, value, type_) for _, key, value, type_ in auth(away, SEVENTH))
    now = max(state.used for one in made.records if isinstance(one, Session) for state in one.states)
    expected = to_baileys(device, major=7, before=None, pairing_key=bytes(32), now=now)
    assert came["phones"][0]["keys_after"] == {"creds": 1, **Counter(key_type(key) for key in _records(made))}
    assert _records(made) == _records(expected.phone)
    assert made.creds.identity == expected.phone.creds.identity
    assert not away.sql("SELECT jid FROM whatsmeow.whatsmeow_device")
    back = away.json("restore", came["operation"])
    assert (back["keys"], auth(away, SEVENTH)) == (0, [])


def test_a_dry_run_of_export_tells_the_same_and_changes_nothing(fleet: Fleet, file: str) -> None:
    before = fleet.everything()
    tried = fleet.json("export", SEVENTH, file, "--dry-run")
    assert (fleet.everything(), Path(file).exists()) == (before, False)
    done = fleet.json("export", SEVENTH, file, "--process-stopped", "--yes")
    assert {name: done[name] for name in tried if name not in LOST} == {
        name: tried[name] for name in tried if name not in LOST
    }


def test_an_export_comes_back_only_when_that_is_insisted_on(fleet: Fleet, file: str) -> None:
    before = fleet.keys()
    done = fleet.json("export", SEVENTH, file, "--process-stopped", "--yes")
    refused = fleet("restore", done["operation"])
    assert (refused.code, "where its file was imported" in refused.err) == (1, True)
    assert done["undo"] == f"wa-sessions restore {done['operation']} --overwrite"
    fleet.json("restore", done["operation"], "--overwrite", "--yes")
    assert fleet.keys() == before


def test_a_file_of_export_is_a_backup(fleet: Fleet, file: str) -> None:
    before = fleet.keys()
    fleet.json("export", SEVENTH, file, "--process-stopped", "--yes")
    fleet.json("restore", "--file", file, "--yes")
    assert fleet.keys() == before


@pytest.mark.parametrize("kind", ["baileys", "neonize"])
def test_an_import_is_undone_while_nobody_has_used_its_keys(fleet: Fleet, away: Fleet, file: str, kind: str) -> None:
    fleet.json("export", SEVENTH, file, "--keep")
    with away.database.transaction() as conn:
        there = backend.detect(conn)
        phones.add(conn, there, SEVENTH, 7)
        conn.execute("INSERT INTO public.baileys_auth VALUES (7, %s, 'creds', 'e30=', 'base64_json')", (SEVENTH,))
    empty = store(away), auth(away, SEVENTH), away.phones()
    first = away.json("import", file, "--as", kind, "--yes")
    away.json("restore", first["operation"])
    assert (store(away) | {"lid_map": []}, auth(away, SEVENTH), away.phones()) == empty
    used = away.json("import", file, "--as", kind, "--yes")
    change(away, SEVENTH)
    kept = away.everything()
    refused = away("restore", used["operation"])
    assert (refused.code, f"wa-sessions export {SEVENTH} FILE" in refused.err) == (1, True)
    assert away.everything() == kept


def test_into_another_organization(fleet: Fleet, away: Fleet, file: str) -> None:
    keys = auth(fleet, SEVENTH)
    fleet.json("export", SEVENTH, file, "--keep")
    away.json("import", file, "--org", "12", "--yes")
    assert auth(away, SEVENTH) == [(12, *row[1:]) for row in keys]
    assert away.phones()[0]["row"]["organizationId"] == 12


def test_keys_of_the_other_store_stay_in_the_file(fleet: Fleet, away: Fleet, file: str) -> None:
    fleet.json("adopt", SEVENTH, "--process-stopped", "--yes")
    fleet.sql("INSERT INTO public.baileys_auth VALUES (7, %s, 'session-1.0', 'e30=', 'base64_json')", SEVENTH)
    left = fleet.json("export", SEVENTH, file, "--yes")
    assert (left["left"], auth(fleet, SEVENTH)) == (0, [])
    [came] = away.json("import", file, "--yes")["phones"]
    assert came["left_out"] == [{"key": "baileys", "what": "keys in the other store, not those in use", "count": 1}]
    assert auth(away, SEVENTH) == []


def test_what_export_refuses(fleet: Fleet, file: str, tmp_path: Path) -> None:
    fleet.sql('DELETE FROM public.baileys_auth WHERE "phoneJid" = %s', corpus.LOGGED_OUT)
    (tmp_path / "there").touch()
    cases = {
        ("77059999999", file, "--yes"): (3, "no phone"),
        (corpus.WABA, file, "--yes"): (5, "official API"),
        (corpus.LOGGED_OUT, file, "--yes"): (1, "there is nothing to export"),
        (SEVENTH, file, "--yes"): (5, "--process-stopped"),
        (SEVENTH, file): (5, "--process-stopped"),
        (SEVENTH, file, "--process-stopped"): (6, "not confirmed"),
        (SEVENTH, file, "--process-stopped", "--keep", "--dry-run"): (2, "--keep"),
        (SEVENTH, "-", "--process-stopped", "--yes"): (2, "stdout"),
        (SEVENTH, str(tmp_path / "there"), "--process-stopped", "--yes"): (1, "exists already"),
        (SEVENTH, file, "--process-stopped", "--yes", "--no-encryption", "--recipient", "x"): (2, "excludes"),
    }
    before = fleet.everything()
    for words, (code, said) in cases.items():
        refused = fleet("export", *words)
        assert (refused.code, refused.out) == (code, ""), words
        assert said in refused.err
        assert (fleet.everything(), Path(file).exists()) == (before, False)


def test_keys_that_somebody_writes_meanwhile(fleet: Fleet, file: str, key: Key) -> None:
    waiting = (
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation'"
    )
    change = Export(Destination(Path(file), recipients([key.recipient])))
    with ThreadPoolExecutor() as pool:
        with fleet.database.transaction() as conn:
            conn.execute(
                'LOCK TABLE public."OrganizationPhone" IN SHARE MODE'
            )  # its keys are taken, its status is not set
            scope = Scope(PhoneRef(digits=SEVENTH))
            leaving = pool.submit(make, opened(fleet.database), change, scope, process_stopped=True)
            for attempt in Retrying(stop=stop_after_delay(20), wait=wait_fixed(0.02), reraise=True):
                with attempt:
                    assert fleet.sql(waiting) == [{"n": 1}]
            conn.execute(
                "INSERT INTO public.baileys_auth VALUES (7, %s, 'session-1.0', 'e30=', 'base64_json')", (SEVENTH,)
            )
        with pytest.raises(Conflict, match="were written meanwhile"):
            leaving.result()
    assert "session-1.0" in [row[1] for row in auth(fleet, SEVENTH)]
    assert len(auth(fleet, SEVENTH)) > 1
    assert list(Path(file).parent.glob("*phone.age*")) == []


def test_what_import_refuses(fleet: Fleet, away: Fleet, file: str, key: Key, tmp_path: Path) -> None:
    fleet.json("export", SEVENTH, file, "--keep")
    fleet.json("backup", "all", f"{file}.all")
    Path(f"{file}.cut").write_bytes(Path(file).read_bytes()[:-200])
    stranger = str(new_key(tmp_path, "stranger").file)
    fleet.sql(
        """UPDATE public.baileys_auth SET "value" =
               (SELECT "value" FROM public.baileys_auth WHERE "key" = 'creds' AND "phoneJid" = %s)
           WHERE "key" = 'creds' AND "phoneJid" = %s""",
        corpus.PAIRED,
        corpus.LOGGED_OUT,
    )
    fleet.json("export", corpus.LOGGED_OUT, f"{file}.swapped", "--keep")
    with away.database.transaction() as conn:
        phones.add(conn, backend.detect(conn), SEVENTH, 3)
    cases = {
        (f"{file}.cut",): (1, "cut short or damaged"),
        (str(key.file),): (1, "is no backup"),
        (f"{file}.none",): (1, "cannot read"),
        (file, "--identity", stranger): (1, "not encrypted to this key"),
        (f"{file}.all",): (2, "--phone"),
        (f"{file}.all", "--phone", "77059999999"): (3, "has no phone"),
        (f"{file}.all", "--phone", "#7"): (2, "is an id"),
        (f"{file}.all", "--phone", corpus.WABA): (1, "without a single key"),
        (f"{file}.swapped", "--as", "neonize"): (1, "those of another number"),
        (file,): (2, "is already phone #1 of organization 3"),
    }
    before = away.everything(), store(away)
    for words, (code, said) in cases.items():
        refused = away("import", *words, "--yes")
        assert (refused.code, refused.out) == (code, ""), words
        assert said in refused.err
        assert (away.everything(), store(away)) == before
    assert away("import", f"{file}.all", "--phone", corpus.PAIRED).code == 6
    paired = fleet("import", file, "--yes", "--process-stopped")
    assert (paired.code, f"wa-sessions force-close {SEVENTH} --logout" in paired.err) == (1, True)
    assert fleet("import", file, "--yes").code == 1


def test_no_secret_is_shown(fleet: Fleet, away: Fleet, file: str, key: Key) -> None:
    secret = key.file.read_text().splitlines()[-1]
    values = [text for _, _, text, _ in auth(fleet, SEVENTH) if len(text) > 40]
    said = [fleet("export", SEVENTH, file, "--process-stopped", "--yes")]
    said += [away("import", file, "--as", "neonize", "--yes", "-o", form) for form in ("table", "json")]
    assert [one.code for one in said] == [0, 0, 1]
    shown = "".join(one.out + one.err for one in said)
    assert not [value for value in (*values, secret) if value in shown]
    assert all(len(line) <= 80 for line in said[1].out.splitlines())
    events = f"{fleet.sql('SELECT detail FROM wa_sessions.event')} {away.sql('SELECT detail FROM wa_sessions.event')}"
    assert not [value for value in (*values, secret) if value in events]


def _records(phone: BaileysPhone) -> dict[str, Record]:
    return {record.key: record for record in phone.records}


def test_neonize_makes_its_tables_first(fleet: Fleet, file: str) -> None:
    fleet.json("export", SEVENTH, file, "--process-stopped", "--yes")
    fleet.sql("DROP SCHEMA whatsmeow CASCADE")
    tried = fleet.json("import", file, "--as", "neonize", "--dry-run")["phones"][0]
    assert not fleet.sql("SELECT nspname FROM pg_namespace WHERE nspname = 'whatsmeow'")
    assert fleet.json("import", file, "--as", "neonize", "--yes")["phones"][0] == tried
    assert len(fleet.sql("SELECT their_id FROM whatsmeow.whatsmeow_sessions")) == tried["keys_after"]["session"]


def test_a_file_from_before_the_phone_went_on(fleet: Fleet, away: Fleet, file: str) -> None:
    older, newer, back = f"{file}.older", f"{file}.newer", f"{file}.back"
    fleet.json("adopt", SEVENTH, "--process-stopped", "--yes")
    fleet.json("export", SEVENTH, older, "--keep")
    fleet.json("export", SEVENTH, newer, "--yes")
    old = fleet("import", older, "--yes")
    assert (old.code, "was exported here since" in old.err) == (1, True)
    away.json("import", newer, "--yes")
    away.json("export", SEVENTH, back, "--yes")
    twice = away("import", newer, "--yes")
    assert (twice.code, "here since" in twice.err) == (1, True)
    came = fleet.json("import", back, "--yes")["operation"]
    fleet.json("force-close", SEVENTH, "--logout", "--yes")
    twice = fleet("import", back, "--yes")
    assert (twice.code, f"was imported here since, as {came}" in twice.err) == (1, True)


def test_an_import_that_was_undone_can_be_made_again(fleet: Fleet, away: Fleet, file: str) -> None:
    fleet.json("export", SEVENTH, file, "--keep")
    away.json("restore", away.json("import", file, "--yes")["operation"])
    away.json("import", file, "--yes")


def test_an_export_comes_back_after_an_import_that_was_undone(fleet: Fleet, file: str) -> None:
    fleet.json("adopt", SEVENTH, "--process-stopped", "--yes")
    before = store(fleet)
    left = fleet.json("export", SEVENTH, file, "--yes")["operation"]
    came = fleet.json("import", file, "--yes")["operation"]
    refused = fleet("restore", left, "--overwrite", "--yes")
    assert (refused.code, f"in {came} (import)" in refused.err) == (1, True)
    fleet.json("restore", came)
    fleet.json("restore", left, "--overwrite", "--yes")
    assert store(fleet) == before


def test_a_phone_that_connected_here_after_the_file_was_made(fleet: Fleet, away: Fleet, file: str) -> None:
    fleet.json("export", SEVENTH, file, "--keep")
    with away.database.transaction() as conn:
        phones.add(conn, backend.detect(conn), SEVENTH, 7)
    away.sql(
        """UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() AT TIME ZONE 'UTC' + interval '1 second'"""
    )
    old = away("import", file, "--yes")
    assert (old.code, "connected here at" in old.err) == (1, True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"our_jid": "77000000001:1@s.whatsapp.net"}, "is one of another phone"),
        ({"our_jid": f"{SEVENTH}:99@s.whatsapp.net"}, "without their device"),
        ({"phoneJid": corpus.PAIRED}, "is one of another phone"),
        ({"organizationId": 8}, "is one of another phone"),
    ],
)
def test_keys_of_another_phone_in_a_file(
    fleet: Fleet, away: Fleet, file: str, changes: dict[str, Any], words: str
) -> None:
    if "our_jid" in changes:
        fleet.json("adopt", SEVENTH, "--process-stopped", "--yes")
    fleet.json("export", SEVENTH, file, "--keep", "--no-encryption")
    header, phone, *rows = Reader().feed(Path(file).read_bytes())
    table = "whatsmeow_sessions" if "our_jid" in changes else "baileys_auth"
    some = next(row for row in rows if isinstance(row, SavedRow) and row.table == table)
    stray = SavedRow(
        table, json.dumps(json.loads(some.row) | {"their_id": "666:0", "key": "session-666.0"} | changes).encode()
    )
    writer = Writer()
    assert isinstance(header, Header)
    assert isinstance(phone, SavedPhone)
    lines = [writer.header(header), writer.phone(phone)]
    lines += [writer.row(row.table, row.row.decode()) for row in (*rows, stray) if isinstance(row, SavedRow)]
    Path(file).write_bytes(b"".join(lines) + writer.end()[0])
    refused = away("import", file, "--yes")
    assert (refused.code, words in refused.err) == (1, True)
    assert away.phones() == []
