"""Opening the database that is meant, ready for an action."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from wa_sessions.db import backend, migrate
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target, resolve


@dataclass(frozen=True, slots=True)
class Opened:
    """A database and the backend's tables in it; ``made_in`` is the folder of an embedded one that is new."""

    database: Database
    backend: Backend
    made_in: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.database.close()


def open_database(
    database_url: str | None = None, *, embedded: Literal["existing", "create"] = "existing", size: int = 4
) -> Opened:
    """Open what is configured, else the embedded database, made if ``embedded`` says so. Raises DatabaseError."""
    target = resolve(database_url, allow_embedded=embedded)
    return replace(open_target(target, size=size), made_in=target.made_in)


def open_target(target: Target, *, size: int = 4) -> Opened:
    """Open one database. An embedded one gets its tables and upgrades by itself; in others nothing is changed."""
    database = Database.open(target, size=size)
    try:
        return Opened(database, _prepared(database))
    except BaseException:
        database.close()
        raise


def _prepared(database: Database) -> Backend:
    with database.transaction() as conn:
        found = backend.detect(conn)
        if not database.target.embedded:
            return found
        if migrate.status(conn).pending:
            migrate.upgrade(conn)
        return found if found.auth and found.has_phones else backend.create_tables(conn)
