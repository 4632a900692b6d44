"""Which phones hold auth keys of certain names."""

from collections.abc import Iterable

from wa_sessions.db.backend import Backend, as_stored
from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries

_SQL = queries("key_owners")
_AT_ONCE = 10_000


def of_keys(
    conn: Connection, backend: Backend, names: Iterable[str], organization_id: int | None = None
) -> dict[str, set[str]]:
    """The numbers of the Node backend's phones that hold a key of each name; it reads the whole table once or more."""
    found: dict[str, set[str]] = {}
    if backend.auth is None:
        return found
    statement = _SQL.of_keys.format(auth_table=backend.auth.identifier)
    listed = sorted(set(names))
    for begin in range(0, len(listed), _AT_ONCE):
        values = {"names": listed[begin : begin + _AT_ONCE], "organization_id": as_stored(organization_id)}
        for row in conn.execute(statement, values):
            found.setdefault(row["name"], set()).add(row["number"])
    return found
