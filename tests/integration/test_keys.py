"""What a phone's key store holds: the real library's rows in all table shapes, whatsmeow's rows, and rights."""

import json
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier
from support import corpus
from support.store import fill_device

from wa_sessions import cli
from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch import keys
from wa_sessions.db import backend, whatsmeow
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.sql import queries
from wa_sessions.errors import AmbiguousPhone, PermissionMissing, PhoneNotFound, UsageError
from wa_sessions.keys.key_types import KEY_TYPES, key_type
from wa_sessions.keys.phone_ref import parse_phone
from wa_sessions.keys.whatsmeow_tables import TABLES

BUFFERS = corpus.BUFFERS
LONGER = f"{BUFFERS}8"
SQL_ = queries("auth_keys")


@pytest.fixture(params=corpus.SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _opened(database: Database) -> Opened:
    with database.transaction() as conn:
        return Opened(database, backend.detect(conn))


@pytest.fixture
def opened(database: Database, shape: str) -> Opened:
    with database.transaction() as conn:
        corpus.load(conn, shape)
    return _opened(database)


def put(conn: Connection, found: Backend, organization: int, number: str, *names: str) -> None:
    assert found.auth
    row = {"organizationId": organization, "phoneJid": number, "value": b"{}" if found.auth.binary else "{}"}
    for name in names:
        cells: dict[str, Any] = row | {"key": name, "type": "base64_json"}
        cells |= {"id": secrets.token_hex(8)} if "id" in found.auth.columns else {}
        columns, values = SQL(", ").join(map(Identifier, cells)), SQL(", ").join(SQL("%s") for _ in cells)
        statement = SQL("INSERT INTO {} ({}) VALUES ({})").format(found.auth.identifier, columns, values)
        conn.execute(statement, list(cells.values()))


def independent(conn: Connection, found: Backend) -> dict[tuple[int, str], tuple[Counter[str], int]]:
    """Keys by type and bytes of their values, by regular expression: longer names first."""
    assert found.auth
    statement = SQL(
        """SELECT "organizationId" AS organization, "phoneJid" AS number, count(*) AS rows,
                  coalesce((regexp_match("key", '^(creds$|app-state-sync-version|app-state-sync-key|sender-key-memory'
                      '|sender-key|session|pre-key|lid-mapping|device-list|tctoken|identity-key)(?:-|$)'))[1], 'other')
                      AS type
           FROM {} GROUP BY 1, 2, 4"""
    )
    counted: dict[tuple[int, str], Counter[str]] = {}
    for row in conn.execute(statement.format(found.auth.identifier)):
        counted.setdefault((row["organization"], row["number"]), Counter())[row["type"]] += row["rows"]
    sizes = SQL('SELECT "organizationId" AS o, "phoneJid" AS n, sum(octet_length("value")) AS s FROM {} GROUP BY 1, 2')
    return {
        (row["o"], row["n"]): (counted[row["o"], row["n"]], row["s"])
        for row in conn.execute(sizes.format(found.auth.identifier))
    }


def test_the_keys_of_every_phone_are_those_of_an_independent_count(opened: Opened) -> None:
    with opened.database.transaction() as conn:
        put(conn, opened.backend, 7, corpus.SEVENTH_PAIRED, "sessions-1", "Session-1", "creds2", "ключ 🔑", "'")
        counted = independent(conn, opened.backend)
        numbers = [row["id"] for row in conn.execute('SELECT "id" FROM public."OrganizationPhone"')]
    found = [keys.keys(opened, parse_phone(f"#{number}")) for number in numbers]
    assert len(found) == 7
    for one in found:
        by_type, size = counted.pop((one.holder.organization_id, one.holder.phone), (Counter(), 0))
        assert (one.by_type, one.total, one.bytes) == (by_type, by_type.total(), size)
        assert (one.total > 0) == (one.holder.phone != corpus.WABA)
    assert not counted
    assert next(one for one in found if one.holder.phone == corpus.SEVENTH_PAIRED).by_type["other"] == 5


def test_a_paired_phone_finds_its_keys(opened: Opened) -> None:
    for spelling in (corpus.PAIRED, f"{corpus.PAIRED}:27@s.whatsapp.net", "+7 701 765-43-21", "#3"):
        found = keys.keys(opened, parse_phone(spelling))
        assert (found.holder.phone_id, found.holder.store, found.total) == (3, "baileys", 185)


def test_a_longer_number_and_another_organization_are_somebody_else(opened: Opened) -> None:
    before = keys.keys(opened, parse_phone(BUFFERS))
    with opened.database.transaction() as conn:
        put(conn, opened.backend, 1, LONGER, "creds", "session-1")
    assert keys.keys(opened, parse_phone(BUFFERS)) == before
    assert keys.keys(opened, parse_phone(LONGER)).total == 2
    with opened.database.transaction() as conn:
        put(conn, opened.backend, 2, BUFFERS, "creds")
    with pytest.raises(AmbiguousPhone, match="1 and, with auth keys only, 2: choose one with --org"):
        keys.keys(opened, parse_phone(BUFFERS))
    assert keys.keys(opened, parse_phone(BUFFERS), 1) == before
    other = keys.keys(opened, parse_phone(BUFFERS), 2)
    assert (other.holder.phone_id, other.holder.organization_id, other.by_type) == (None, 2, {"creds": 1})


def test_keys_without_a_phone_are_shown(conn: Connection, database: Database) -> None:
    opened = _opened(database)
    with database.transaction() as writing:
        put(writing, opened.backend, 4, LONGER, "creds")
    orphan = keys.keys(opened, parse_phone(LONGER))
    assert orphan.as_dict() == {
        "phone_id": None,
        "phone": LONGER,
        "organization_id": 4,
        "store": "baileys",
        "total": 1,
        "bytes": orphan.bytes,
        "by_type": {"creds": 1},
    }
    with pytest.raises(PhoneNotFound):
        keys.keys(opened, parse_phone(LONGER), 5)
    with pytest.raises(PhoneNotFound):
        keys.keys(opened, parse_phone("#999"))
    with database.transaction() as writing:
        put(writing, opened.backend, 9, LONGER, "creds")
    with pytest.raises(AmbiguousPhone, match="organization 4, 9: choose one with --org"):
        keys.keys(opened, parse_phone(LONGER))


def test_names_come_in_pages(opened: Opened) -> None:
    ref = parse_phone(corpus.SEVENTH)
    whole = keys.key_names(opened, ref, limit=10_000)
    assert (len(whole.names), whole.next_after) == (447, None)
    paged: list[str] = []
    after = None
    while True:
        page = keys.key_names(opened, ref, after=after, limit=149)
        paged += page.names
        if (after := page.next_after) is None:
            break
    assert paged == whole.names
    for type_ in KEY_TYPES:
        names = keys.key_names(opened, ref, key_type=type_, limit=1000).names
        assert names == [name for name in whole.names if key_type(name) == type_]
    with pytest.raises(UsageError, match="no key type of the baileys store: creds, "):
        keys.key_names(opened, ref, key_type="contact")


def _store(database: Database, *devices: int, connection_type: str = "neonize") -> int:
    with database.transaction() as conn:
        corpus.load(conn, "baileys_auth")
        kind = 'UPDATE public."OrganizationPhone" SET "connectionType" = %s WHERE "id" = 1'
        conn.execute(kind, (connection_type,))
        fill_device(conn, f"{LONGER}:1@s.whatsapp.net")
        return sum(fill_device(conn, f"{BUFFERS}:{device}@s.whatsapp.net") for device in devices)


def test_a_neonize_phone_has_its_keys_in_whatsmeows_tables(database: Database) -> None:
    made = _store(database, 3)
    found = keys.keys(_opened(database), parse_phone(BUFFERS))
    assert (found.holder.store, found.total) == ("whatsmeow", made)
    assert found.by_type == dict.fromkeys((table.kind for table in TABLES), 3) | {
        "creds": 1,
        "nct-salt": 1,
    }
    assert found.bytes > 1000
    with database.transaction() as conn:
        counted = whatsmeow.counts_by_number(conn)
    assert set(counted) == {BUFFERS, LONGER}
    assert counted[BUFFERS] == found.by_type


@pytest.mark.parametrize("devices", [(3,), (3, 4)])
def test_names_of_whatsmeows_rows(database: Database, devices: tuple[int, ...]) -> None:
    made = _store(database, *devices)
    opened, ref = _opened(database), parse_phone(BUFFERS)
    whole = keys.key_names(opened, ref, limit=1000).names
    assert len(set(whole)) == made
    first = keys.key_names(opened, ref, limit=20)
    assert first.names + keys.key_names(opened, ref, after=first.next_after, limit=1000).names == whole
    contacts = keys.key_names(opened, ref, key_type="contact").names
    assert len(contacts) == 3 * len(devices)
    assert all(name.startswith("contact-") for name in contacts)
    assert ("creds" in whole) == (len(devices) == 1)
    with pytest.raises(UsageError, match="no key type of the whatsmeow store"):
        keys.key_names(opened, ref, key_type="lid-mapping")


def test_a_baileys_phone_with_rows_in_both_stores_is_counted_in_its_own(database: Database) -> None:
    _store(database, 3, connection_type="baileys")
    found = keys.keys(_opened(database), parse_phone(BUFFERS))
    assert (found.holder.store, found.total) == ("baileys", 187)


@pytest.fixture
def reader(database: Database) -> Iterator[str]:
    """A role that may do nothing yet."""
    role = f"reader_{secrets.token_hex(4)}"
    with database.transaction() as conn:
        conn.execute(f"CREATE ROLE {role} LOGIN")
    yield role
    with database.transaction() as conn:
        conn.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_select_on_the_backends_tables_is_enough(database: Database, shape: str, reader: str) -> None:
    with database.transaction() as conn:
        found = corpus.load(conn, shape)
        assert found.auth
        conn.execute("DROP SCHEMA wa_sessions CASCADE")
        conn.execute(f'GRANT SELECT ON public."OrganizationPhone", public."{found.auth.name}" TO {reader}')
    with Database.open(_as(database, reader)) as theirs:
        opened = _opened(theirs)
        assert keys.keys(opened, parse_phone(corpus.PAIRED)).total == 185
        assert len(keys.key_names(opened, parse_phone(corpus.PAIRED), limit=1000).names) == 185
        with database.transaction() as conn:
            conn.execute("""UPDATE public."OrganizationPhone" SET "connectionType" = 'neonize' WHERE "id" = 1""")
        with pytest.raises(PermissionMissing, match="schema whatsmeow"):
            keys.keys(opened, parse_phone(BUFFERS))


def _as(database: Database, role: str) -> Any:
    return replace(database.target, conninfo=re.sub(r"user=\S+", f"user={role}", database.target.conninfo))


def test_the_primary_key_finds_a_phones_keys(database: Database, shape: str) -> None:
    """Among 51,000 rows, analysed."""
    with database.transaction() as conn:
        found = corpus.load(conn, shape)
        assert found.auth
        old = shape == "BaileysAuth-old"
        conn.execute(
            f"""INSERT INTO public."{found.auth.name}"
                ("organizationId", "phoneJid", "key", "value", "type"{', "id"' * old})
                SELECT o, 77070000000 + p, 'session-' || k, '', 'buffer'{", concat_ws('-', o, p, k)" * old}
                FROM generate_series(1, 5) o, generate_series(1, 100) p, generate_series(1, 100) k"""
        )
        conn.execute(f'ANALYZE public."{found.auth.name}"')
        index = "BaileysAuth_organizationId_phoneJid_key_key" if old else f"{found.auth.name}_pkey"
        values = {"organization_id": 1, "number": BUFFERS, "after": "pre-key-1", "type": None, "limit": 100}
        for block in (SQL_.sums, SQL_.names):
            statement = block.format(auth_table=found.auth.identifier, key_type=SQL_.key_type)
            plan = conn.execute(SQL("EXPLAIN ") + statement, values).fetchall()
            text = "\n".join(line["QUERY PLAN"] for line in plan)
            assert index in text
            assert "Seq Scan" not in text
            assert re.search(r'Index Cond: \(\("organizationId" = .*\) AND \("phoneJid" = ', text)


@given(
    st.lists(
        st.one_of(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
            st.builds(
                lambda start, between, rest: start + between + rest,
                st.sampled_from(KEY_TYPES),
                st.sampled_from(["", "-", "--", "_", "s-", "-memory-"]),
                st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
            ),
        ),
        max_size=60,
    )
)
def test_postgres_and_python_agree_on_key_types(_shared: Database, made: list[str]) -> None:
    with _shared.transaction() as conn:
        statement = SQL('SELECT "key", {} AS type FROM unnest(%s::text[]) AS made ("key")').format(SQL_.key_type)
        for row in conn.execute(statement, (made,)):
            assert row["type"] == key_type(row["key"]), row["key"]


def test_the_command(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", database_url)
    with database.transaction() as conn:
        found = corpus.load(conn, "BaileysAuth")
        put(conn, found, 2, LONGER, "creds", "session-\x1b[2J'1", "session-2")

    def run(*arguments: str, code: int = 0) -> str:
        assert cli.execute(["keys", *arguments]) == code
        shown = capsys.readouterr()
        assert (shown.err == "") == (code == 0)
        assert all(len(line) <= 80 for line in shown.out.splitlines() if not line.startswith("next: "))
        return shown.out if code == 0 else shown.err

    card = run(corpus.PAIRED)
    assert card.startswith("77017654321 (#3, organization 1)\n  185 keys in the baileys store, ")
    assert re.search(r"^session +91$", card, re.MULTILINE)
    assert list(json.loads(run(corpus.PAIRED, "--json"))) == [
        *("phone_id", "phone", "organization_id", "store", "total", "bytes", "by_type"),
    ]
    assert json.loads(run(corpus.WABA, "--json"))["store"] is None
    assert "the official API runs it, so it has no keys" in run(corpus.WABA)
    assert "no keys" in run(corpus.WABA, "--list")
    assert "(no row of its own, organization 2)" in run(LONGER)
    assert run(corpus.PENDING, "-o", "tsv").splitlines()[1].startswith(f"13\t{corpus.PENDING}\t2\tbaileys\t1\t")
    assert run(corpus.PENDING, "--list", "-o", "tsv") == "name\ncreds\n"
    page = run(LONGER, "--list", "--type", "session", "--limit", "1")
    words = f"wa-sessions keys {LONGER} --org 2 --list --type session --limit 1"
    assert page.splitlines() == ["session-\ufffd[2J'1", rf"next: {words} --after=$'session\x2d\x1b\x5b2J\x271'"]
    assert run(LONGER, "--list", "--after=session-\x1b[2J'1") == "session-2\n"
    assert json.loads(run(LONGER, "--list", "--limit", "2", "--json"))["next_after"] == "session-\x1b[2J'1"
    assert "go with --list" in run(LONGER, "--type", "session", code=2)
    assert "no key type" in run(BUFFERS, "--list", "--type", "nonsense", code=2)
    assert "cannot hold" in run(BUFFERS, "--list", "--after", "a\0b", code=2)
    assert "cannot hold" in run(BUFFERS, "--list", "--after", "\udcff", code=2)
    assert "add it with" in run("77059999999", code=3)
