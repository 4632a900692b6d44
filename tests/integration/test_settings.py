"""Which database is meant, and under which URL the store reaches it."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier
from support.examples import examples
from support.relay import Relay
from support.store import DATA
from support.waiting import PATIENCE

from wa_sessions import cli
from wa_sessions.db import backend, whatsmeow
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.settings import Target, resolve, store_url, without_idle_timeout
from wa_sessions.errors import DatabaseError
from wa_sessions.keys.whatsmeow_tables import TABLES

TYPED = "postgresql://typed@127.0.0.1/a"
OURS = "postgresql://ours@127.0.0.1/b"
BACKENDS = "postgresql://backend@127.0.0.1/c?schema=chat"
ANYWHERE = Target("", None, "test")


def test_what_is_typed_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch, server: EmbeddedServer) -> None:
    monkeypatch.setenv("WA_SESSIONS_DATA_DIR", str(server.data_dir))
    found = [resolve()]
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGUSER", "libpq")
    found.append(resolve())
    monkeypatch.setenv("DATABASE_URL", BACKENDS)
    found.append(resolve())
    monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", OURS)
    found.append(resolve())
    found.append(resolve(TYPED))
    assert [target.source for target in found] == [
        "embedded",
        "PGHOST, PGUSER",
        "DATABASE_URL",
        "WA_SESSIONS_DATABASE_URL",
        "--database-url",
    ]
    assert [target.embedded for target in found] == [True, False, False, False, False]
    assert [conninfo_to_dict(target.conninfo).get("user") for target in found[2:]] == ["backend", "ours", "typed"]
    assert found[2].search_path == '"chat"'
    assert found[1].masked.startswith("postgresql://libpq@127.0.0.1:5432")


def test_an_empty_variable_is_not_set_but_an_empty_option_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", " ")
    monkeypatch.setenv("DATABASE_URL", BACKENDS)
    assert resolve().source == "DATABASE_URL"
    with pytest.raises(DatabaseError, match="--database-url is empty"):
        resolve("")


def test_an_empty_variable_is_named_where_nothing_else_is_configured(
    monkeypatch: pytest.MonkeyPatch, open_folder: Path
) -> None:
    monkeypatch.setenv("WA_SESSIONS_DATA_DIR", str(open_folder / "never"))
    monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", "")
    monkeypatch.setenv("DATABASE_URL", " ")
    with pytest.raises(DatabaseError, match=r"WA_SESSIONS_DATABASE_URL, DATABASE_URL are set, but empty"):
        resolve()


def test_an_embedded_database_is_taken_without_a_terminal_only_if_it_is_named(
    monkeypatch: pytest.MonkeyPatch, server: EmbeddedServer
) -> None:
    monkeypatch.setattr("wa_sessions.db.embedded.default_data_dir", lambda: server.data_dir)
    with pytest.raises(DatabaseError, match="not taken without a terminal unless it is named: --database-url embedded"):
        resolve()
    assert resolve("embedded").folder == server.data_dir
    monkeypatch.setenv("DATABASE_URL", "embedded")
    assert resolve().embedded
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("WA_SESSIONS_DATA_DIR", str(server.data_dir))
    assert resolve().embedded
    monkeypatch.delenv("WA_SESSIONS_DATA_DIR")
    monkeypatch.setattr("wa_sessions.db.settings._at_terminal", lambda: True)
    assert resolve().embedded


def test_a_line_says_which_embedded_database_is_used(
    monkeypatch: pytest.MonkeyPatch, server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WA_SESSIONS_DATA_DIR", str(server.data_dir))
    assert cli.execute(["db", "status"]) == 0
    assert f"the database is the embedded one in {server.data_dir}\n" in capsys.readouterr().err


def test_with_nothing_configured_nothing_is_made(monkeypatch: pytest.MonkeyPatch, open_folder: Path) -> None:
    monkeypatch.setenv("WA_SESSIONS_DATA_DIR", str(open_folder / "never"))
    with pytest.raises(
        DatabaseError, match="no database is configured: give --database-url, or set WA_SESSIONS_DATABASE_URL"
    ):
        resolve()
    assert not (open_folder / "never").exists()


def test_a_service_file_is_libpqs_own(monkeypatch: pytest.MonkeyPatch, server: EmbeddedServer, tmp_path: Path) -> None:
    (tmp_path / "services").write_text(f"[backend]\nhost={server.socket_dir}\nuser=postgres\ndbname=postgres\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGSERVICE", "backend")
    with Database.open(resolve()) as database, database.transaction() as conn:
        assert conn.info.dbname == "postgres"
    assert resolve().source == "PGSERVICE"
    with Database.open(resolve("service=backend")) as database, database.transaction() as conn:
        assert conn.info.host == server.socket_dir


def test_a_password_file_is_libpqs_own(monkeypatch: pytest.MonkeyPatch, server: EmbeddedServer, tmp_path: Path) -> None:
    passwords = tmp_path / "pgpass"
    with Relay(server.socket_dir) as relay:
        passwords.write_text(f"127.0.0.1:{relay.port}:*:*:from-file\n")
        passwords.chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(passwords))
        target = resolve(f"postgresql://postgres@127.0.0.1:{relay.port}/postgres")
        with Database.open(target) as database, database.transaction() as conn:
            assert ":from-file@" in store_url(conn, target)


def test_the_schema_of_a_prisma_url_is_searched(database_url: str, database: Database) -> None:
    with database.transaction() as conn:
        conn.execute('CREATE SCHEMA "Chat Backend"')
        conn.execute('CREATE TABLE "Chat Backend"."OrganizationPhone" (id int)')
    target = resolve(f"{database_url}&schema=Chat%20Backend&connection_limit=5")
    with Database.open(target) as other:
        for _ in range(2):
            with other.transaction() as conn:
                found = backend.detect(conn)
                assert (found.phone_schema, found.phone_columns) == ("Chat Backend", frozenset({"id"}))


def test_the_stores_url_by_socket(target: Target, server: EmbeddedServer) -> None:
    with Database.open(target) as database, database.transaction() as live:
        parts = urlsplit(store_url(live, target))
    assert parts.scheme == "postgres"
    assert parts.netloc == "postgres@"
    assert _query(parts.query) == {
        "host": server.socket_dir,
        "port": "5432",
        "sslmode": "disable",
        "binary_parameters": "yes",
        "search_path": "whatsmeow",
        "idle_session_timeout": "60000",
    }


def test_a_pooler_that_refuses_the_idle_timeout_gets_a_url_without_it(target: Target) -> None:
    with Database.open(target) as database, database.transaction() as live:
        url = store_url(live, target)
    without = urlsplit(without_idle_timeout(url))
    assert without.scheme == "postgres"
    assert _query(without.query) == {
        name: value for name, value in _query(urlsplit(url).query).items() if name != "idle_session_timeout"
    }


@pytest.fixture(scope="module")
def relayed(server: EmbeddedServer) -> Iterator[Relay]:
    with Relay(server.socket_dir) as relay:
        yield relay


@examples(25)
@given(password=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=6, max_size=20))
def test_the_stores_url_carries_the_password_and_nothing_else_shows_it(
    server: EmbeddedServer, relayed: Relay, password: str
) -> None:
    conninfo = make_conninfo(host="127.0.0.1", port=relayed.port, user="postgres", dbname="postgres", password=password)
    target = Target(conninfo, None, "test")
    with Database.open(target, size=1) as database, database.transaction() as conn:
        parts = urlsplit(store_url(conn, target))
    assert parts.hostname == "127.0.0.1"
    assert parts.port == relayed.port
    assert parts.password
    assert unquote(parts.password) == password
    assert _query(parts.query)["binary_parameters"] == "yes"
    assert target.masked == f"postgresql://postgres:***@127.0.0.1:{relayed.port}/postgres"


@pytest.mark.parametrize(
    ("override", "query"),
    [
        ("postgres://u:p@h/d?sslmode=require", {"sslmode": "require", "binary_parameters": "yes"}),
        (
            "postgresql://u:p@h/d?sslmode=verify-full&binary_parameters=no&pgbouncer=true&connection_limit=1&schema=x",
            {"sslmode": "verify-full", "binary_parameters": "yes"},
        ),
        (
            "postgres://u:p@h/d?search_path=keys&sslmode=disable",
            {"search_path": "keys", "sslmode": "disable", "binary_parameters": "yes"},
        ),
        ("postgres://u:p@/d?host=/run/pgb", {"host": "/run/pgb", "sslmode": "disable", "binary_parameters": "yes"}),
        ("postgres://u:p@127.0.0.1:1/d?sslmode=prefer", {"sslmode": "require", "binary_parameters": "yes"}),
        (
            "postgres://u:p@127.0.0.1:1,127.0.0.2:1/d",
            {"sslmode": "require", "binary_parameters": "yes", "target_session_attrs": "read-write"},
        ),
        (
            "postgres://u:p@/d?host=/a,/b&target_session_attrs=any",
            {"host": "/a,/b", "sslmode": "disable", "binary_parameters": "yes", "target_session_attrs": "any"},
        ),
    ],
)
def test_a_pooled_url_is_mended(conn: Connection, override: str, query: dict[str, str]) -> None:
    parts = urlsplit(store_url(conn, ANYWHERE, override))
    assert parts.scheme == "postgres"
    assert parts.username == "u"
    assert parts.password == "p"
    assert _query(parts.query) == query


def test_a_pooler_without_tls_is_asked(conn: Connection, relayed: Relay) -> None:
    url = store_url(conn, ANYWHERE, f"postgres://u:p@127.0.0.1:{relayed.port}/d")
    assert _query(urlsplit(url).query)["sslmode"] == "disable"


@pytest.mark.parametrize("override", ["", "host=h dbname=d", "mysql://u:geheim@h/d", "postgres://u:ge/heim@h/d"])
def test_what_the_store_cannot_use_is_refused(conn: Connection, override: str) -> None:
    with pytest.raises(DatabaseError, match="WA_SESSIONS_STORE_URL") as error:
        store_url(conn, ANYWHERE, override)
    assert "heim" not in str(error.value)


def test_real_neonize_makes_under_that_url_what_we_know(server: EmbeddedServer, relayed: Relay) -> None:
    """Its tables, owners and keys are those that we quarantine and restore; under names that need quoting."""
    role, name, password = "app role", "data base", "p@ss/w:o?r#d%+&="
    with psycopg.connect(server.conninfo(), autocommit=True) as admin:
        admin.execute(SQL("CREATE ROLE {} LOGIN SUPERUSER").format(Identifier(role)))
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    url = f"postgresql://{quote(role)}:{quote(password, safe='')}@127.0.0.1:{relayed.port}/{quote(name)}"
    target = resolve(url)
    with Database.open(target) as database:
        with database.transaction() as conn:
            whatsmeow.ensure_schema(conn)
        with database.transaction() as conn:
            _let_neonize_connect(store_url(conn, target))
        with database.transaction() as conn:
            made = _described(conn)
            conn.execute("DROP SCHEMA whatsmeow CASCADE")
            conn.execute((DATA / "whatsmeow_schema.sql").read_bytes())
            assert made == _described(conn)
            assert _columns_of_keys(conn) == {table.name: (table.owner, set(table.key)) for table in TABLES}


def _let_neonize_connect(url: str) -> None:
    """It makes its tables before it looks for WhatsApp, which stands behind a closed port here."""
    program = """
        import os, sys
        import pylibmagic  # the machine may lack libmagic
        from neonize.client import NewClient
        try:
            NewClient(sys.argv[1], uuid="schema").connect()
        except Exception as error:
            print(error, file=sys.stderr)
            os._exit(0 if "dial" in str(error) else 1)
    """
    environment = os.environ | {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    command = [sys.executable, "-c", textwrap.dedent(program), url]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr


def _described(conn: Connection) -> list[dict[str, object]]:
    columns = conn.execute(
        "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
        " WHERE table_schema = 'whatsmeow' ORDER BY 1, ordinal_position"
    ).fetchall()
    constraints = conn.execute(
        "SELECT conrelid::regclass::text AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint"
        " WHERE connamespace = 'whatsmeow'::regnamespace AND contype <> 'n' ORDER BY 1, 2"
    ).fetchall()
    version = conn.execute("SELECT version, compat FROM whatsmeow.whatsmeow_version").fetchall()
    return [*columns, *constraints, *version]


def _columns_of_keys(conn: Connection) -> dict[str, tuple[str, set[str]]]:
    rows = conn.execute(
        "SELECT c.relname AS name, array_agg(a.attname::text) AS key FROM pg_index i"
        " JOIN pg_class c ON c.oid = i.indrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey)"
        " WHERE i.indisprimary AND c.relnamespace = 'whatsmeow'::regnamespace GROUP BY 1"
    )
    keys = {
        row["name"]: set(row["key"]) for row in rows if row["name"] not in ("whatsmeow_lid_map", "whatsmeow_version")
    }
    return {name: ("our_jid" if "our_jid" in key else "jid", key) for name, key in keys.items()}


def _query(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


def test_no_database_is_made_for_a_number_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WA_SESSIONS_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WA_SESSIONS_DATA_DIR", str(tmp_path / "data"))
    for wrong in (["8705"], ["87051234567"], ["#7"], ["77051234567", "--name", "x" * 300]):
        assert cli.execute(["add", *wrong, "--org", "1", "--embedded"]) == 2
    assert not (tmp_path / "data").exists()
