"""Which database, decided in one place; and the URL under which neonize's store reaches the same one."""

import os
import socket
import struct
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from wa_sessions import config
from wa_sessions.config import table
from wa_sessions.db import dsn
from wa_sessions.db.dsn import Server
from wa_sessions.errors import DatabaseError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from wa_sessions.db.embedded import EmbeddedServer
    from wa_sessions.db.gateway import Connection

OPTION = "--database-url"
EMBEDDED = "embedded"
STORE_SCHEMA = "whatsmeow"
IDLE_TIMEOUT = "idle_session_timeout"
IDLE_MILLISECONDS = 60_000
"""After which Postgres ends a connection of the store that rests. neonize 0.5.2 keeps two a session and leaves two
behind with each stop; a query that meets the end of its connection is repeated on a new one (1,500 of 1,500 messages).
"""

TLS_PROBE_TIMEOUT = 3.0
_TLS_FILES = ("sslrootcert", "sslcert", "sslkey")


@dataclass(frozen=True, slots=True)
class Target:
    """A database to connect to, and where its address came from.

    ``folder``: of an embedded one; ``made_in``: of one that is new.
    """

    conninfo: str = field(repr=False)
    search_path: str | None
    source: str
    embedded: bool = False
    made_in: "Path | None" = None
    folder: "Path | None" = None

    @property
    def masked(self) -> str:
        """The address for people's eyes, without a password."""
        if not self.conninfo:
            return dsn.masked(_from_environment())
        return dsn.masked(conninfo_to_dict(self.conninfo))

    @property
    def has_several_hosts(self) -> bool:
        """Whether another server may be the primary tomorrow."""
        return dsn.has_several_hosts(conninfo_to_dict(self.conninfo))

    @property
    def shows_password(self) -> bool:
        """Whether a password stands in the command line, which every user of the machine can read."""
        return self.source == OPTION and bool(conninfo_to_dict(self.conninfo).get("password"))


def resolve(
    database_url: str | None = None, *, allow_embedded: Literal["running", "existing", "create"] = "existing"
) -> Target:
    """The database that is meant: option, environment, libpq's own settings, config files, else the embedded one.

    The embedded one is taken where a person sits at a terminal, or where it is named: by the word ``embedded`` instead
    of a URL, or by its folder. Starts its server where that is the answer, but with ``"running"``, for a shell that
    completes words; makes one only with ``"create"``. Raises DatabaseError, UsageError for a file that cannot be used.
    """
    if database_url is not None:
        return _named(database_url, OPTION, allow_embedded)
    configured = config.current()
    found = configured.find(table.DATABASE_URL)
    if found is None:
        named = configured.find(table.DATA_DIR) is not None
        return _embedded(allow_embedded, named=named, empty=configured.empty(table.DATABASE_URL))
    if configured.profile is not None:
        _require_of_profile(configured, found)
    if found.raw == "":
        return Target("", None, found.place)
    return _named(found.raw, found.place, allow_embedded)


def _named(text: str, source: str, allow_embedded: Literal["running", "existing", "create"]) -> Target:
    if text.strip().lower() == EMBEDDED:
        return _embedded(allow_embedded, named=True, empty=[])
    return _target(text, source)


def _require_of_profile(configured: config.Configuration, found: config.Found) -> None:
    """Raise UsageError where a profile names one database and the environment, which goes first, another."""
    meant = configured.of_profile(table.DATABASE_URL)
    if meant is not None and meant.raw != found.raw:
        raise UsageError(
            f"the profile {configured.profile} names a database, and {found.place} another, which would go first: "
            f"unset {found.place}, or leave the profile out"
        )


def _embedded(allow: Literal["running", "existing", "create"], *, named: bool, empty: "list[str]") -> Target:
    """The embedded database, if it may be taken; ``empty`` are variables that are set to nothing."""
    from wa_sessions.db.embedded import EmbeddedServer, default_data_dir

    server = EmbeddedServer(default_data_dir())
    completing = allow == "running"
    there = server.running() if completing else server.exists()
    if allow == "create" or (there and (named or (_has_terminal() if completing else _at_terminal()))):
        return embedded_target(server)
    why = f" ({', '.join(empty)} {'is' if len(empty) == 1 else 'are'} set, but empty)" if empty else ""
    instead = "an embedded database is made by: wa-sessions add PHONE --org N --embedded"
    if there:
        instead = (
            f"the embedded one in {server.data_dir} is not taken without a terminal unless it is named: "
            f"--database-url {EMBEDDED}, or {table.DATA_DIR.variable}"
        )
    raise DatabaseError(
        f"no database is configured{why}: give --database-url, or set WA_SESSIONS_DATABASE_URL, DATABASE_URL or "
        f"libpq's PG* variables, or write database_url into a config file ({instead})"
    )


def _at_terminal() -> bool:
    return bool(sys.stdin and sys.stdin.isatty())


def _has_terminal() -> bool:
    """Whether a terminal controls this process: a shell that completes has another stdin, cron and services have none.

    What Tab offers is then what the command takes that is being typed there.
    """
    try:
        os.close(os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def embedded_target(server: "EmbeddedServer") -> Target:
    """The database of an embedded server, which is started if it does not run."""
    made_in = None if server.exists() else server.data_dir
    return Target(server.ensure_running(), None, EMBEDDED, embedded=True, made_in=made_in, folder=server.data_dir)


def store_url(conn: "Connection", target: Target, override: str | None = None) -> str:
    """The store's URL for neonize (lib/pq), derived from a live connection or mended from ``override``.

    It always has ``binary_parameters=yes``: without it a pooler loses messages silently. A derived one has
    ``idle_session_timeout`` where the server knows it (Postgres 14); a pooler may refuse that, see
    ``without_idle_timeout``. Raises DatabaseError.
    """
    if override is not None:
        return _mended(override)
    info = conn.info
    parts = conninfo_to_dict(target.conninfo)
    query = _tls(conn, parts) | {"binary_parameters": "yes", "search_path": STORE_SCHEMA}
    if info.server_version >= 140_000:
        query[IDLE_TIMEOUT] = str(IDLE_MILLISECONDS)
    login = quote(info.user, safe="") + (f":{quote(info.password, safe='')}" if info.password else "")
    database = quote(info.dbname, safe="")
    return _at(Server(info.host or info.hostaddr, info.port), login, database, query)


def at_server(url: str, server: Server | None) -> str:
    """A derived store's URL, at another server of the same database if one is known: after a failover, say."""
    if server is None:
        return url
    base, query = dsn.split_query(url)
    login, _, rest = base.partition("://")[2].rpartition("@")
    for name in ("host", "port"):
        query.pop(name, None)
    return _at(server, login, rest.partition("/")[2], query)


def _at(server: Server, login: str, database: str, query: dict[str, str]) -> str:
    if server.host.startswith("/"):
        place = {"host": server.host, "port": str(server.port)}
        return dsn.with_query(f"postgres://{login}@/{database}", place | query)
    bracketed = f"[{server.host}]" if ":" in server.host else server.host
    return dsn.with_query(f"postgres://{login}@{bracketed}:{server.port}/{database}", query)


def without_idle_timeout(url: str) -> str:
    """The same store for a pooler that refuses start-up parameters which it does not know."""
    base, query = dsn.split_query(url)
    query.pop(IDLE_TIMEOUT, None)
    return dsn.with_query(base.replace("postgresql://", "postgres://", 1), query)


def _target(text: str, source: str) -> Target:
    conninfo, schema = dsn.read_dsn(text, source)
    return Target(conninfo, f'"{schema.replace(chr(34), chr(34) * 2)}"' if schema else None, source)


def _from_environment() -> dict[str, str]:
    return {
        option.keyword.decode(): option.val.decode(errors="replace")
        for option in pq.Conninfo.get_defaults()
        if option.val is not None
    }


def _tls(conn: "Connection", parts: "dict[str, str | int | None]") -> dict[str, str]:
    if not conn.pgconn.ssl_in_use:
        return {"sslmode": "disable"}
    mode = str(parts.get("sslmode") or config.libpq("PGSSLMODE") or "")
    query = {"sslmode": mode if mode in {"verify-ca", "verify-full"} else "require"}
    return query | {name: str(parts[name]) for name in _TLS_FILES if parts.get(name)}


def _mended(override: str) -> str:
    text = override.strip()
    if not dsn.is_postgres_url(text):
        raise DatabaseError("the store's URL (--store-url, WA_SESSIONS_STORE_URL) is not a postgres:// URL")
    parts = conninfo_to_dict(dsn.read_dsn(text, "WA_SESSIONS_STORE_URL")[0])
    base, query = dsn.split_query(text)
    query = {name: value for name, value in query.items() if name not in dsn.FOREIGN}
    if query.get("sslmode") == dsn.NO_VERIFY:
        query["sslmode"] = "require"
    if query.get("sslmode", "prefer") in {"prefer", "allow"}:
        query["sslmode"] = "require" if any(_offers_tls(host, port) for host, port in dsn.hosts(parts)) else "disable"
    if dsn.has_several_hosts(parts):
        query.setdefault("target_session_attrs", "read-write")
    return dsn.with_query(base.replace("postgresql://", "postgres://", 1), query | {"binary_parameters": "yes"})


def _offers_tls(host: str, port: int) -> bool:
    """Ask the server, as lib/pq has no ``prefer``; a server that cannot be asked is taken to want TLS."""
    if host.startswith("/"):
        return False
    try:
        with socket.create_connection((host, port), TLS_PROBE_TIMEOUT) as probe:
            probe.sendall(struct.pack("!ii", 8, 80877103))
            return probe.recv(1) != b"N"
    except (OSError, UnicodeError):
        return True
