"""Every statement on every server there is: the embedded one, and those of the machine's packages, as Debian's 15."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.sql import SQL
from support import installed_postgres
from support.store import make_store

import wa_sessions.db
from wa_sessions.db import backend, migrate
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target
from wa_sessions.db.sql import queries

SUBJECTS = sorted(path.stem for path in (Path(wa_sessions.db.__file__).parent / "queries").glob("*.sql"))
STATEMENTS = [f"{subject}.{block}" for subject in SUBJECTS for block in vars(queries(subject))]
EMBEDDED = "embedded"
PART = re.compile(r"(?<!')\{([a-z_]+)\}(?!')")
PARAMETER = re.compile(r"%\((\w+)\)s")
PREPARED = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")
PARTS = {
    "auth_table": 'public."baileys_auth"',
    "phones": 'public."OrganizationPhone"',
    "table": "whatsmeow.whatsmeow_sessions",
    "target": "whatsmeow.whatsmeow_sessions",
    "source": "whatsmeow.whatsmeow_sessions",
    "owner": '"our_jid"',
    "peer": '"their_id"',
    "key": '"our_jid", "their_id"',
    "present": 'doomed."our_jid", doomed."their_id"',
    "kept": 'r."our_jid", r."their_id"',
    "columns": '"our_jid", "their_id", "session"',
    "values": "'a', 'b', 'c'",
    "changes": "\"status\" = 'connected'",
    "connection_type": 'phone."connectionType"::text',
    "condition": "TRUE",
    "using": "",
    "kind": "'session'",
    "type": "'session'",
    "name": "'session'",
    "parts": '"their_id"',
    "place": "0",
    "keyed": "NULL",
    "number": "'77051234567'",
    "met": "SELECT 0::bigint AS keys",
    "row": "staged.row",
    "rows": "SELECT 'a' AS name",
    "schema": '"wa_sessions_made"',
}
OTHERWISE = {
    "backup.auth_rows": {"table": 'public."baileys_auth"'},
    "backup.without_phone": {"table": 'public."baileys_auth"'},
    "backup.insert": {"values": 'r."our_jid", r."their_id", r."session"'},
    "phones.insert": {"columns": '"organizationId", "phoneJid", "updatedAt"', "values": "1, 'a', now()"},
    "quarantine.kept_devices": {"owner": "'our_jid'"},
    "unlinking.copy_rows": {"owner": "'our_jid'"},
    "unlinking.copy_table": {"target": "whatsmeow.made"},
    "unlinking.copy_version": {"target": "whatsmeow.whatsmeow_version"},
}
AUTH, PHONE, SESSIONS = PARTS["auth_table"], PARTS["phones"], PARTS["table"]
WRAPPED = {
    "account_leases.forget_another_number": "WITH {} SELECT FROM before",
    "auth_keys.key_type": f"SELECT {{}} FROM {AUTH}",
    "auth_keys.everybody": f"SELECT FROM {AUTH} WHERE {{}}",
    "auth_keys.of_organization": f"SELECT FROM {AUTH} WHERE {{}}",
    "backup.as_it_is": "SELECT {} FROM pg_temp.wa_sessions_backup_row AS staged",
    "backup.bytes_as_text": "SELECT {} FROM pg_temp.wa_sessions_backup_row AS staged",
    "backup.text_as_bytes": "SELECT {} FROM pg_temp.wa_sessions_backup_row AS staged",
    "backup.new_id": "SELECT {}",
    "fleet.type_of_backend": f"SELECT {{}} FROM {PHONE} AS phone",
    "fleet.type_of_ours": f"SELECT {{}} FROM {PHONE} AS phone",
    "phones.number": f"SELECT {{}} FROM {PHONE} AS phone",
    "phones.status_as_it_is_spelled": f"SELECT {{}} FROM {PHONE}",
    "quarantine.baileys_rows": f"SELECT FROM {AUTH} AS doomed WHERE {{}}",
    "quarantine.store_rows": f"SELECT FROM {SESSIONS} AS doomed WHERE {{}}",
    "quarantine.store_rows_of_peer": f"SELECT FROM {SESSIONS} AS doomed WHERE {{}}",
    "quarantine.under_devices": f"SELECT FROM {SESSIONS} AS doomed WHERE {{}}",
    "quarantine.phone_row": f"SELECT FROM {PHONE} AS doomed WHERE {{}}",
    "quarantine.using_kept": f"DELETE FROM {SESSIONS} AS doomed {{}} WHERE TRUE",
    "quarantine.overwritten": f"SELECT FROM {SESSIONS} doomed, wa_sessions.quarantine q, {SESSIONS} r WHERE {{}}",
    "key_transfer.of_device": f"SELECT FROM {SESSIONS} WHERE {{}}",
    "key_transfer.of_number": f"SELECT FROM {AUTH} WHERE {{}}",
}
"""What is no statement, in the place that it is made for."""

BEFORE = {
    "backend.create": "CREATE SCHEMA wa_sessions_made",
    "migrations.create": "DROP SCHEMA wa_sessions CASCADE",
    "whatsmeow.create_schema": "DROP SCHEMA whatsmeow CASCADE",
}


ROWS = 20_000
FILL = f"""
    INSERT INTO wa_sessions.event (at, phone_id, organization_id, kind)
    SELECT now() - n * interval '1 minute', n % 400, 1, (ARRAY['connected', 'error_counted', 'taken'])[n % 3 + 1]
    FROM generate_series(1, {ROWS}) AS n;
    INSERT INTO wa_sessions.operation (id, action, reason, actor)
    SELECT 'op-' || n, 'close', '', '' FROM generate_series(0, 399) AS n;
    INSERT INTO wa_sessions.quarantine (operation_id, phone_id, store, table_name, row)
    SELECT 'op-' || n % 400, n % 400, 'whatsmeow', 'whatsmeow_sessions', '{{}}' FROM generate_series(1, {ROWS}) AS n;
    INSERT INTO wa_sessions.inbox (phone_id, chat, sender, message_id, from_me, is_group, sent_at, kind, text, raw)
    SELECT n % 400, 'chat ' || n % 20, 's', n::text, false, false, 0, 'text', '', ''
    FROM generate_series(1, {ROWS}) AS n
"""
FIRST_COLUMNS = """
    SELECT index.relname AS name, attname AS column
    FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid JOIN pg_class AS big ON big.oid = indrelid
    JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    WHERE big.oid = ANY(ARRAY['wa_sessions.event', 'wa_sessions.quarantine', 'wa_sessions.inbox']::regclass[])
"""
BIG = {"event", "quarantine", "inbox"}
READ_WHOLE = {"inbox.depths", "inbox.rows", "pruning.old_events", "pruning.prune_events", "reporting.pruned"}
"""Those that count or prune a whole table, or may be asked for all of it."""


@pytest.fixture(scope="module", params=[EMBEDDED, *installed_postgres.installed()])
def conn(request: pytest.FixtureRequest, open_folder: Path) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """A database with all tables, on one server after another."""
    if request.param == EMBEDDED:
        with request.getfixturevalue("databases").new() as target:
            yield from _filled(target.conninfo)
    else:
        with installed_postgres.running(request.param, open_folder) as conninfo:
            yield from _filled(conninfo)


def _filled(conninfo: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with Database.open(Target(conninfo, None, "test")) as database, database.transaction() as ours:
        backend.create_tables(ours)
        migrate.upgrade(ours)
        make_store(ours)
    with psycopg.connect(conninfo, autocommit=True, row_factory=dict_row) as conn:
        conn.execute("SET search_path = pg_catalog, pg_temp")
        conn.execute(FILL.encode())
        conn.execute("ANALYZE")
        yield conn


def _statement(name: str) -> str:
    """As the code has it, for one of the tables that it is meant for."""
    subject, block = name.split(".")
    keys = queries("auth_keys")
    forget = queries("account_leases").forget_another_number
    ours = {"key_type": _text(keys.key_type), "scope": _text(keys.everybody), "forget": _text(forget)}
    parts = PARTS | ours | OTHERWISE.get(name, {})
    text = PART.sub(lambda match: parts[match[1]], _text(getattr(queries(subject), block)).rstrip(";"))
    return WRAPPED.get(name, "{}").replace("{}", text)


def _text(statement: SQL) -> str:
    return str(statement.as_string())


def _prepared(statement: str) -> tuple[str, int]:
    """With numbers for its parameters, and how many they are."""
    names = list(dict.fromkeys(PARAMETER.findall(statement)))
    numbered = PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", statement)
    return numbered.replace("%%", "%"), len(names)


def _plan(conn: psycopg.Connection[dict[str, Any]], statement: str) -> list[dict[str, Any]]:
    """The plan for whatever values its parameters have."""
    text, count = _prepared(statement)
    conn.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    conn.execute(f"PREPARE tried AS {text}".encode())
    try:
        values = f" ({', '.join(['NULL'] * count)})" if count else ""
        row = conn.execute(f"EXPLAIN (FORMAT JSON) EXECUTE tried{values}".encode()).fetchone()
        return list(row["QUERY PLAN"]) if row else []
    finally:
        conn.execute("DEALLOCATE tried")


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_is_understood(conn: psycopg.Connection[dict[str, Any]], name: str) -> None:
    """Those that change tables' shapes are carried out and rolled back; of all others the plan is made."""
    with conn.transaction(force_rollback=True):
        if name in BEFORE:
            conn.execute(BEFORE[name].encode())
        if name.startswith("backup.") and name != "backup.stage":
            conn.execute(queries("backup").stage)
        statement = _statement(name)
        if PREPARED.match(statement):
            assert _plan(conn, statement)
        elif statement.startswith("COPY"):
            with conn.cursor().copy(statement.encode()):
                pass
        else:
            conn.execute(statement.encode())


def _scans(conn: psycopg.Connection[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    """How a statement reads tables."""

    def below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield node
        for part in node.get("Plans", ()):
            yield from below(part)

    with conn.transaction(force_rollback=True):
        if name.startswith("backup."):
            conn.execute(queries("backup").stage)
        for plan in _plan(conn, _statement(name)):
            yield from below(plan["Plan"])


def test_no_plan_rests_on_a_skip_scan(conn: psycopg.Connection[dict[str, Any]]) -> None:
    """Only from 18 on is an index of use without a condition on its first column; before, all of it is read."""
    first = {row["name"]: row["column"] for row in conn.execute(FIRST_COLUMNS.encode())}
    whole = set()
    for name in STATEMENTS:
        if name in WRAPPED or not PREPARED.match(_statement(name)):
            continue
        for scan in _scans(conn, name):
            condition = scan.get("Index Cond")
            if condition and (column := first.get(scan.get("Index Name", ""))):
                assert re.search(rf"\b{column}\b", condition), (name, scan["Index Name"], condition)
            if scan["Node Type"] == "Seq Scan" and scan["Relation Name"] in BIG:
                whole.add(name)
    assert whole <= READ_WHOLE
