"""One number has one session: leases are by phone, and a row that is deleted and made anew is another phone."""

from collections.abc import Sequence
from uuid import UUID

from wa_sessions.db import leases
from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.errors import OwnedByAnother
from wa_sessions.keys.phone_ref import account_of

LOCK_CLASS = 1463897682
_SQL = queries("account_leases")


def claim(conn: Connection, phone_id: int, number: str, *, patience: float = leases.HOLDER_TIMEOUT) -> None:
    """Let no worker run the number for another phone: not now, nor until this transaction ends.

    For whoever has the lease of ``phone_id``; from then on that lease stands for the number, and what was counted of
    another one that the phone had before is forgotten.
    A lease of another phone that its worker left behind is ended as it would be to take that phone. Raises
    OwnedByAnother where it runs; ``patience`` as in ``leases.take``.
    """
    values = {"class": LOCK_CLASS, "account": account_of(number), "phone_id": phone_id}
    conn.execute(_SQL.lock, values)
    note = _SQL.note.format(forget=_SQL.forget_another_number)
    _end_others(conn, number, [row["other"] for row in conn.execute(note, values)], patience)


def block(conn: Connection, phone_id: int, number: str | None, nobody: UUID) -> None:
    """Let no worker own a phone until this transaction ends, nor run its number for another one.

    ``number``: None while it has none; ``nobody``: as ``leases.hold`` has given it. Raises as ``claim``, and forgets
    likewise.
    """
    values = {
        "class": LOCK_CLASS,
        "account": None if number is None else account_of(number),
        "phone_id": phone_id,
        "holder": nobody,
        "operator": leases.OPERATOR,
    }
    conn.execute(_SQL.block.format(forget=_SQL.forget_another_number), values)
    if number is not None:
        others = [row["other"] for row in conn.execute(_SQL.others, values)]
        _end_others(conn, number, others, leases.HOLDER_TIMEOUT)


def _end_others(conn: Connection, number: str, others: Sequence[int], patience: float) -> None:
    for other in others:
        try:
            leases.block(conn, other, patience=patience)
        except OwnedByAnother:
            raise OwnedByAnother(_still_runs(conn, number, other)) from None


def _still_runs(conn: Connection, number: str, other: int) -> str:
    holder = leases.owner(conn, other)
    who = holder.name if holder else "another process"
    return (
        f"{number} still runs as phone #{other}, by {who}, which lets go of it within seconds, as it sees that the row "
        "of that phone is gone or has changed: try again then"
    )
