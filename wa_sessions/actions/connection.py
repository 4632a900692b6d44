"""Opening the database that is meant, ready for an action."""

from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from wa_sessions.db import backend, migrate
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.settings import Target, resolve


class Opened:
    """A database and the backend's tables in it; ``made_in`` is the folder of an embedded one that is new."""

    def __init__(self, database: Database, found: Backend | None = None, *, made_in: Path | None = None) -> None:
        self.database, self.made_in = database, made_in
        if found is not None:
            self.backend = found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.database.close()

    @cached_property
    def backend(self) -> Backend:
        """The backend's tables, looked for where no transaction has done it."""
        with self.database.transaction() as conn:
            return backend.detect(conn)

    def look(self, conn: Connection) -> None:
        """Look for the backend's tables."""
        self.backend = backend.detect(conn)


def open_database(
    database_url: str | None = None, *, embedded: Literal["existing", "create"] = "existing", size: int = 4
) -> Opened:
    """Open what is configured, else the embedded database, made if ``embedded`` says so. Raises DatabaseError."""
    return open_target(resolve(database_url, allow_embedded=embedded), size=size)


def open_target(target: Target, *, size: int = 4) -> Opened:
    """Open one database. An embedded one gets its tables and upgrades by itself; in others nothing is changed.

    The backend's tables are looked for as the first transaction begins.
    """
    opened = Opened(Database.open(target, size=size), made_in=target.made_in)
    try:
        if target.embedded:
            with opened.database.transaction() as conn:
                opened.backend = _prepared(conn)
        else:
            opened.database.at_first = opened.look
    except BaseException:
        opened.database.close()
        raise
    return opened


def _prepared(conn: Connection) -> Backend:
    if migrate.status(conn).pending:
        migrate.upgrade(conn)
    found = backend.detect(conn)
    return found if found.auth and found.has_phones else backend.create_tables(conn)
