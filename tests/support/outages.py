"""A database that is away for a while, of a server that others use too."""

import contextlib
from collections.abc import Iterator

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Composable, Identifier

from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database


@contextlib.contextmanager
def outage(server: EmbeddedServer, database: Database) -> Iterator[None]:
    """Nobody can connect, and whoever is connected is thrown out."""
    with _altered(server, database, SQL("ALLOW_CONNECTIONS false"), SQL("ALLOW_CONNECTIONS true")):
        yield


@contextlib.contextmanager
def demoted(server: EmbeddedServer, database: Database) -> Iterator[None]:
    """The server takes connections and refuses to be written to, as a primary that became a standby."""
    setting = SQL("SET default_transaction_read_only = {}")
    with _altered(server, database, setting.format(SQL("on")), setting.format(SQL("off"))):
        yield


@contextlib.contextmanager
def _altered(server: EmbeddedServer, database: Database, so: Composable, back: Composable) -> Iterator[None]:
    name = str(conninfo_to_dict(database.target.conninfo)["dbname"])
    alter = SQL("ALTER DATABASE {} ").format(Identifier(name))
    with psycopg.connect(server.conninfo(), autocommit=True) as admin:
        admin.execute(alter + so)
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            admin.execute(alter + back)
