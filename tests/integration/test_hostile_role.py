"""A role that may CREATE in the schema public (up to Postgres 14: everybody) is never called by our statements."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from support.backup_fixtures import Key
from support.fleet import Fleet

from wa_sessions.db import gateway
from wa_sessions.db.dedicated import pinned
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.settings import Target

QUERIES = "\n".join(file.read_text() for file in Path(gateway.__file__).with_name("queries").glob("*.sql"))
TYPES = [
    "text",
    "int2",
    "int4",
    "int8",
    "jsonb",
    "bool",
    "timestamptz",
    "interval",
    "name",
    "oid",
    "uuid",
    "float8",
    "bytea",
    "_text",
    "_int4",
]
OPERATORS = ["=", "<>", "<", ">", "<=", ">=", "||", "->", "->>", "@>", "-", "+", "~", "?", "?|", "/"]
FUNCTIONS = """
    SELECT p.oid, p.proname AS name, oidvectortypes(p.proargtypes) AS given, p.pronargs AS count,
           format_type(p.prorettype, NULL) AS answer
    FROM pg_proc AS p JOIN pg_type AS t ON t.oid = p.prorettype
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset AND p.provariadic = 0
      AND p.proname = ANY(%s) AND t.typtype <> 'p'
      AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) AS a JOIN pg_type AS g ON g.oid = a WHERE g.typtype = 'p')
"""
SIGNS = """
    SELECT o.oprname AS name, format_type(o.oprleft, NULL) AS left, format_type(o.oprright, NULL) AS right,
           format_type(o.oprresult, NULL) AS answer
    FROM pg_operator AS o JOIN pg_type AS l ON l.oid = o.oprleft JOIN pg_type AS r ON r.oid = o.oprright
    WHERE o.oprname = ANY(%s) AND l.typname = ANY(%s) AND r.typname = ANY(%s)
"""
BODY = "LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.loot VALUES (''{}'', current_user); RETURN {}; END'"
BETTER = """
    CREATE FUNCTION public.to_jsonb(public.{table}) RETURNS jsonb {to_jsonb};
    CREATE FUNCTION public.jsonb_populate_record(public.{table}, jsonb) RETURNS public.{table} {populate};
"""
EXACT = """
    CREATE FUNCTION public.array_position(text[], text) RETURNS int {position};
    CREATE FUNCTION public.meets(text[], text[]) RETURNS bool {meets};
    CREATE OPERATOR public.&& (LEFTARG = text[], RIGHTARG = text[], FUNCTION = public.meets);
"""
"""Signatures that fit better than Postgres's own, which are polymorphic: they win wherever the schema stands."""

NEXT = ["--yes", "--process-stopped"]


@pytest.fixture
def loot(fleet: Fleet, database: Database) -> Iterator[Fleet]:
    """The fleet's database, whose schema public a role without rights has filled with traps."""
    with psycopg.connect(database.target.conninfo, autocommit=True) as admin:
        admin.execute("CREATE ROLE low; GRANT CREATE ON SCHEMA public TO low")
        admin.execute("CREATE TABLE public.loot (name text, who text)")
        admin.execute("GRANT INSERT ON public.loot TO public; SET ROLE low")
        for table in ('"OrganizationPhone"', "baileys_auth"):
            admin.execute(
                BETTER.format(
                    table=table,
                    to_jsonb=BODY.format("to_jsonb", "pg_catalog.to_jsonb($1::record)"),
                    populate=BODY.format("jsonb_populate_record", "$1"),
                ).encode()
            )
        admin.execute(
            EXACT.format(position=BODY.format("array_position", "1"), meets=BODY.format("&&", "true")).encode()
        )
    yield fleet
    database.close()
    with psycopg.connect(database.target.conninfo, autocommit=True) as admin:
        admin.execute("DROP OWNED BY low CASCADE; DROP ROLE low")


def _shadow_everything(target: Target) -> None:
    """With ``public`` before ``pg_catalog``: every function, operator and type that our SQL names, by an exact copy."""
    with psycopg.connect(target.conninfo, autocommit=True) as admin:
        called = sorted(set(re.findall(r"\b([a-z_0-9]+)\(", QUERIES)))
        functions = admin.execute(FUNCTIONS, (called,)).fetchall()
        signs = admin.execute(SIGNS, (OPERATORS, TYPES, TYPES)).fetchall()
        assert len(functions) > 60
        assert len(signs) > 100
        admin.execute("SET ROLE low")
        for _, name, given, count, answer in functions:
            if (name, given) == ("array_position", "text[], text"):
                continue
            arguments = ", ".join(f"${n + 1}" for n in range(count))
            body = BODY.format(name, f"pg_catalog.{name}({arguments})")
            admin.execute(f"CREATE FUNCTION public.{name}({given}) RETURNS {answer} {body}".encode())
        for number, (sign, left, right, answer) in enumerate(signs):
            body = BODY.format(sign, f"$1 OPERATOR(pg_catalog.{sign}) $2")
            admin.execute(f"CREATE FUNCTION public.op_{number}({left}, {right}) RETURNS {answer} {body}".encode())
            operator = f"LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = public.op_{number}"
            admin.execute(f"CREATE OPERATOR public.{sign} ({operator})".encode())
        for name in ("text", "jsonb", "timestamptz", "float8", "oid", "bytea"):
            body = BODY.format(name, "true")
            admin.execute(f"CREATE FUNCTION public.is_{name}(pg_catalog.{name}) RETURNS bool {body}".encode())
            domain = f"CREATE DOMAIN public.{name} AS pg_catalog.{name} CHECK (public.is_{name}(VALUE))"
            admin.execute(domain.encode())
        admin.execute("RESET ROLE")
        database = SQL("ALTER DATABASE {} SET search_path = public, pg_catalog").format(Identifier(admin.info.dbname))
        admin.execute(database)


def _use_everything(fleet: Fleet, tmp_path: Path) -> None:
    number, other, seventh = "77051234567", "77017654321", "79269876543"
    file, exported = str(tmp_path / "all.age"), str(tmp_path / "one.age")
    for words in (
        ["db", "status"], ["sessions"], ["stats", number], ["keys", number, "--list"], ["metrics"], ["report"],
        ["errors", number], ["timeline", number], ["alerts", "list"], ["backup", "all", file],
        ["add", "77059999999", "--org", "1"], ["remove", "77059999999", "--yes"],
        ["assign", "77051234567", "baileys"], ["reset-status", other, "disconnected", "--yes"],
        ["db", "prune", "--older-than", "1d", "--yes"], ["quarantine", "purge", "--older-than", "1d", "--yes"],
    ):  # fmt: skip
        assert fleet(*words).code in (0, 1), words
    cleaned = fleet.json("clean-sessions", number, *NEXT)["operation"]
    fleet.json("restore", cleaned, "--process-stopped")
    closed = fleet.json("force-close", number, "--logout", *NEXT)["operation"]
    fleet.json("restore", "--file", file, "--phone", number, *NEXT)
    assert fleet("restore", closed, "--process-stopped").code == 0
    fleet.json("clean-app-state", seventh, *NEXT)
    fleet.json("adopt", seventh, *NEXT)
    fleet.json("clean-sessions", seventh, "--yes")
    fleet("return", seventh, "--yes")
    assert fleet("export", other, exported, *NEXT).code == 0
    assert fleet("operations").code == 0


def _fallen_into(database: Database) -> list[tuple[str, str]]:
    with psycopg.connect(database.target.conninfo) as admin:
        return admin.execute("SELECT DISTINCT name, who FROM public.loot").fetchall()


@pytest.mark.parametrize("shadowed", [False, True])
def test_no_function_or_operator_of_a_stranger_is_called(
    loot: Fleet, database: Database, key: Key, tmp_path: Path, shadowed: bool
) -> None:
    if shadowed:
        _shadow_everything(database.target)
    _use_everything(loot, tmp_path)
    assert _fallen_into(database) == []


def test_an_upgrade_calls_none_either(loot: Fleet, database: Database) -> None:
    _shadow_everything(database.target)
    loot.sql("DROP SCHEMA wa_sessions CASCADE")
    assert loot("db", "upgrade").code == 0
    assert loot("stats", "77051234567").code == 0
    assert _fallen_into(database) == []


def test_a_table_that_a_stranger_has_put_there_is_not_the_backends(loot: Fleet, database: Database) -> None:
    loot.sql('ALTER TABLE public.baileys_auth RENAME TO "BaileysAuth"')
    trap = BODY.format("trigger", "OLD").replace("$1", "OLD")
    loot.sql(
        f"""SET LOCAL ROLE low;
            CREATE TABLE public.baileys_auth AS SELECT 1 AS "organizationId", '77051234567' AS "phoneJid",
                'session-77000000001.0' AS "key", 'x' AS "value", 'buffer' AS "type";
            CREATE FUNCTION public.trap() RETURNS trigger {trap};
            CREATE TRIGGER trap BEFORE DELETE ON public.baileys_auth FOR EACH ROW EXECUTE FUNCTION public.trap();
            GRANT ALL ON public.baileys_auth TO public"""
    )
    assert loot.json("clean-sessions", "77051234567", *NEXT)["quarantined"] > 1
    assert _fallen_into(database) == []


def test_a_trigger_that_finds_its_names_on_the_search_path_is_told_of(fleet: Fleet) -> None:
    fleet.sql(
        """CREATE TABLE public.audit (at timestamptz);
           CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN INSERT INTO audit VALUES (now()); RETURN NEW; END';
           CREATE TRIGGER noted AFTER UPDATE ON public."OrganizationPhone"
               FOR EACH ROW EXECUTE FUNCTION public.note()"""
    )
    refused = fleet("rename", "77051234567", "Reception")
    assert refused.code == 4
    assert 'relation "audit" does not exist' in refused.err
    assert "ALTER FUNCTION public.note() SET search_path" in refused.err
    fleet.sql("ALTER FUNCTION public.note() SET search_path = public")
    assert fleet("rename", "77051234567", "Reception").code == 0
    assert len(fleet.sql("SELECT at FROM public.audit")) == 1


def test_every_way_to_a_connection_is_pinned(database: Database) -> None:
    def path(conn: Connection) -> object:
        return (conn.execute("SHOW search_path").fetchone() or {})["search_path"]

    with database.transaction() as conn:
        assert path(conn) == "pg_catalog, pg_temp"
        assert gateway.schemas(conn) == ["public"]
        assert path(conn) == "pg_catalog, pg_temp"
    with database.snapshot() as conn:
        assert path(conn) == "pg_catalog, pg_temp"
    with database.dedicated() as dedicated:
        assert path(dedicated) == '"$user", public'  # a pooler may give this connection to others
        with pinned(dedicated):
            assert path(dedicated) == "pg_catalog, pg_temp"


def test_what_runs_before_the_pin_names_the_schema_of_all_it_calls() -> None:
    folder = Path(gateway.__file__).with_name("queries")
    session = (folder / "session.sql").read_text()
    locks = "".join(re.findall(r"^SELECT .*pg_(?:try_)?advisory_(?:un)?lock\(.*$", QUERIES, re.MULTILINE))
    assert locks
    for text in (session, locks):
        calls = re.findall(r"([\w.]+)\(", re.sub(r"OPERATOR\(pg_catalog\.=\)", "", text))
        assert {call for call in calls if not call.startswith("pg_catalog.")} <= {"COALESCE"}
        assert set(re.findall(r"::([\w.]+)", text)) <= {"int", "pg_catalog.text"}
