"""Databases that tests use one after another: to make one anew costs many times what it costs to empty one."""

import contextlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier
from support import corpus

from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.settings import Target

AnyConnection = psycopg.Connection[dict[str, Any]]
Table = tuple[str, str]

_CATALOGS = ("attribute", "constraint", "depend", "event_trigger", "namespace", "proc", "rewrite", "trigger", "type")
_SCHEMA = "SELECT concat_ws(',', {}) AS schema".format(
    ", ".join(
        [
            """(SELECT md5(string_agg(concat_ws('|', oid, relname, relnamespace, relowner, relacl, reloptions,
                relrowsecurity, relforcerowsecurity), '/' ORDER BY oid)) FROM pg_class WHERE oid >= 16384)""",
            """(SELECT concat_ws('|', datdba, datacl, datconnlimit, datallowconn) FROM pg_database
                WHERE datname = current_database())""",
            "(SELECT count(*) FROM pg_db_role_setting)",
            *(f"(SELECT count(*) || '|' || sum(xmin::text::bigint) FROM pg_{name})" for name in _CATALOGS),
        ]
    )
)
"""Another answer after any change of the schema: what is made has dependencies, rights are in what they are to."""
_TABLES = """SELECT n.nspname, c.relname, pg_relation_size(c.oid) > 0 AS written
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname IN ('public', 'wa_sessions', 'whatsmeow')"""
_ROWS = "SELECT count(*) || '|' || coalesce(sum(xmin::text::bigint), 0) AS rows FROM {}"
_SEQUENCES = "SELECT format('%I.%I', schemaname, sequencename) AS name, last_value FROM pg_sequences"
_SET = "SELECT setval(%s::regclass, %s, %s)"
_END_OTHERS = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s"


@dataclass(frozen=True)
class Template:
    """A database to be copied. ``fill`` makes the rows of the tables ``filled`` anew, where a test wrote to them."""

    name: str
    fill: Callable[[AnyConnection], object] | None = None
    filled: frozenset[Table] = frozenset()


@dataclass
class _Lent:
    """A database, and how it was before anybody used it."""

    name: str
    schema: str = ""
    rows: dict[Table, str] = field(default_factory=dict)
    sequences: dict[str, int | None] = field(default_factory=dict)


EMPTY = Template("wa_template")
"""The backend's tables, our schema, and whatsmeow's store, all empty."""
NODE = Template("wa_template_node", partial(corpus.fill, shape="baileys_auth"), corpus.TABLES)
"""The same with a Node backend's phones and keys."""


class Databases:
    """The databases of one server. Each test finds one under a new name: what an earlier test left running does not."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._free: dict[Template, list[_Lent]] = defaultdict(list)
        self._admin = psycopg.connect(server.conninfo(), autocommit=True)

    def close(self) -> None:
        self._admin.close()

    def target(self, name: str) -> Target:
        return Target(make_conninfo(self._server.conninfo(), dbname=name), None, "test")

    def create(
        self, name: str, template: str = "template1", fill: Callable[[Connection], object] | None = None
    ) -> None:
        """A copy of another database, and more in it."""
        statement = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY wal_log")
        self._admin.execute(statement.format(Identifier(name), Identifier(template)))
        if fill:
            with self._opened(name) as conn:
                fill(conn)

    @contextlib.contextmanager
    def new(self) -> Iterator[Target]:
        """A database without any table."""
        name = self._new_name()
        self.create(name)
        yield self.target(name)
        self._drop(name)

    @contextlib.contextmanager
    def lend(self, template: Template) -> Iterator[Target]:
        """A copy of the template."""
        free = self._free[template]
        lent = free.pop() if free else self._make(template)
        yield self.target(lent.name)
        self._admin.execute(_END_OTHERS, (lent.name,))
        if self._put_right(lent, template):
            old, lent.name = lent.name, self._new_name()
            self._admin.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(*map(Identifier, (old, lent.name))))
            free.append(lent)
        else:
            self._drop(lent.name)

    def _new_name(self) -> str:
        return f"test_{next(self._numbers)}"

    def _make(self, template: Template) -> _Lent:
        lent = _Lent(self._new_name())
        self.create(lent.name, template.name)
        with self._looking(lent.name) as conn:
            lent.schema, lent.sequences = _schema(conn), _sequences(conn)
            lent.rows = {table: _rows(conn, table) for table in _written(conn)}
        return lent

    def _put_right(self, lent: _Lent, template: Template) -> bool:
        """Whether it is as it was: rows are, unless they were there from the start and nobody can make them anew."""
        with self._looking(lent.name) as conn:
            if _schema(conn) != lent.schema:
                return False
            _empty(conn, (table for table in _written(conn) if table not in lent.rows))
            changed = {table for table, rows in lent.rows.items() if _rows(conn, table) != rows}
            if template.fill and changed & template.filled:
                _empty(conn, template.filled)
                template.fill(conn)
                lent.rows |= {table: _rows(conn, table) for table in template.filled}
            for name, _ in _sequences(conn).items() - lent.sequences.items():
                first = lent.sequences[name]
                conn.execute(_SET, (name, first or 1, first is not None))
            return changed <= template.filled

    @contextlib.contextmanager
    def _looking(self, name: str) -> Iterator[AnyConnection]:
        with psycopg.connect(self.target(name).conninfo, row_factory=dict_row) as conn:
            yield conn

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[Connection]:
        with Database.open(self.target(name), size=1) as opened, opened.transaction() as conn:
            yield conn

    def _drop(self, name: str) -> None:
        self._admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def _schema(conn: AnyConnection) -> str:
    [row] = conn.execute(_SCHEMA)
    return str(row["schema"])


def _written(conn: AnyConnection) -> list[Table]:
    return [(row["nspname"], row["relname"]) for row in conn.execute(_TABLES) if row["written"]]


def _rows(conn: AnyConnection, table: Table) -> str:
    """Another answer for rows that were written since."""
    [row] = conn.execute(SQL(_ROWS).format(Identifier(*table)))
    return str(row["rows"])


def _sequences(conn: AnyConnection) -> dict[str, int | None]:
    return {row["name"]: row["last_value"] for row in conn.execute(_SEQUENCES)}


def _empty(conn: AnyConnection, tables: Iterable[Table]) -> None:
    names = SQL(", ").join(Identifier(*table) for table in tables)
    if names.as_string():
        conn.execute(SQL("TRUNCATE {} CASCADE").format(names))


def url_of(server: EmbeddedServer, target: Target) -> str:
    name = conninfo_to_dict(target.conninfo)["dbname"]
    return f"postgresql://postgres@/{name}?host={server.socket_dir}&port=5432"
