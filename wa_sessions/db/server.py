"""What a worker has to know of its server before it begins: whether a connection stays one, how many there may be."""

import contextlib
from dataclasses import dataclass

from wa_sessions.db.dedicated import pinned
from wa_sessions.db.gateway import Connection, Database, errors_of
from wa_sessions.db.sql import queries
from wa_sessions.errors import DatabaseError

ROUNDS = 3
"""Looks at who answers. A pooler that gives the connection used last shows itself in the first, one that takes turns
too; more are for one that chooses by chance, or is busy.
"""

_SQL = queries("server")


@dataclass(frozen=True, slots=True)
class Limit:
    """How many connections ``whose`` may have; ``used`` are those of others than the one that asked."""

    whose: str
    most: int
    reserved: int
    used: int

    @property
    def left(self) -> int:
        """Connections that can still be made."""
        return max(0, self.most - self.reserved - self.used)

    def __str__(self) -> str:
        kept = f"{self.reserved} reserved, " if self.reserved else ""
        return f"{self.whose} has {self.left} left of {self.most} ({kept}{self.used} used by others)"


def tightest_limit(conn: Connection) -> Limit:
    """Of the server, the role and the database, the one that leaves least."""
    return min((Limit(**row) for row in conn.execute(_SQL.limits)), key=lambda limit: limit.left)


def require_session_state(database: Database) -> None:
    """Raise DatabaseError where locks and LISTEN do not hold: behind a pooler that lends a server for each transaction.

    It is seen by what cannot be otherwise: two connections that are open at once and are answered by one backend, or
    one connection that is answered by two.
    """
    with (
        contextlib.closing(database.dedicated()) as one,
        contextlib.closing(database.dedicated()) as other,
        errors_of(database.target),
    ):
        for _ in range(ROUNDS):
            first, again, beside = _backend(one), _backend(one), _backend(other)
            if first != again or again == beside:
                raise DatabaseError(
                    f"{database.target.masked} is a pooler in transaction mode (source: {database.target.source}): a "
                    "worker's locks and notifications do not hold there; give it the server's own address, or a pool "
                    "in session mode. neonize's key store alone may go through this one: --store-url"
                )


def _backend(conn: Connection) -> object:
    """Which backend answers; its number alone may be another server's too, behind a balancer."""
    with pinned(conn):
        return conn.execute(_SQL.backend).fetchone()
