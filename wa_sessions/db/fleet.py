"""What workers that share phones see of those that are free or their own."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import DictRow

from wa_sessions.db.backend import Backend, as_stored, organization_of
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import OPERATOR
from wa_sessions.db.sql import queries
from wa_sessions.health.backend_words import PhoneType, SessionState, connection_type_of, session_state_of
from wa_sessions.keys.phone_ref import account_of, number_of

_SQL = queries("fleet")


@dataclass(frozen=True, slots=True)
class PhoneRow:
    """A phone that is free, or held by me or by a worker that is not renewed.

    ``organization_id`` and ``number`` are None where its row is gone; ``reserved``: an operator has to do with it;
    ``state`` is None where nothing is known of a session with this number; ``since_my_start``: it is in this state
    since a time when I ran already.
    """

    id: int
    organization_id: int | None
    number: str | None
    connection_type: PhoneType
    owner: UUID | None
    held_for: float
    wanted_by: UUID | None
    reserved: bool
    state: SessionState | None
    since_my_start: bool


def phones(
    conn: Connection,
    backend: Backend,
    me: UUID,
    renewed: Collection[UUID],
    organization_id: int | None,
    phone_ids: Collection[int] | None,
) -> list[PhoneRow]:
    """What I have, and the ``neonize`` phones (of an organization; of these ids) that no worker has that is renewed."""
    backend.require_phones()
    connection_type = _SQL.type_of_backend if backend.has_connection_type else _SQL.type_of_ours
    query = _SQL.phones.format(phones=backend.phones, connection_type=connection_type)
    values = {
        "me": me,
        "renewed": list(renewed),
        "organization_id": as_stored(organization_id),
        "phone_ids": None if phone_ids is None else list(phone_ids),
    }
    return [
        PhoneRow(
            row["id"],
            organization_of(row["organization_id"]),
            None if row["jid"] is None else number_of(row["jid"]),
            connection_type_of(row["connection_type"]),
            row["owner"],
            row["held_for"] or 0.0,
            None if row["wanted_by"] == OPERATOR else row["wanted_by"],
            row["wanted_by"] == OPERATOR,
            _state(row),
            bool(row["since_my_start"]),
        )
        for row in conn.execute(query, values)
    ]


def _state(row: DictRow) -> SessionState | None:
    """None too where the phone had another number then."""
    renumbered = None not in (row["jid"], row["account"]) and account_of(number_of(row["jid"])) != row["account"]
    return None if row["state"] is None or renumbered else session_state_of(row["state"])
