"""Phones: rows of the backend's "OrganizationPhone", found by exact number and changed as Prisma would."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, Literal

from psycopg import errors
from psycopg.rows import DictRow
from psycopg.sql import SQL, Composable, Composed, Identifier, Placeholder

from wa_sessions.db import leases
from wa_sessions.db.backend import Backend, as_stored, organization_of
from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.errors import AmbiguousPhone, Conflict, DatabaseError, OwnedByAnother, PhoneNotFound, UsageError
from wa_sessions.health.backend_words import (
    BackendStatus,
    ConnectionType,
    PhoneType,
    connection_type_of,
    status_of,
)
from wa_sessions.health.reconnect import Status
from wa_sessions.keys.phone_ref import PhoneRef, device_of, nearest, number_of, spellings

_SQL = queries("phones")
_NOW_UTC = SQL("(clock_timestamp() AT TIME ZONE 'UTC')::timestamp(3)")


class Keep(Enum):
    """Marks a column that is to stay as it is, since None means NULL."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone of an organization; ``number`` is the digits of ``phone_jid``, ``device`` its device once paired.

    Where the backend has not written its JID yet, that is empty, and ``number`` is ``#`` and the row's id.
    """

    id: int
    organization_id: int
    number: str
    phone_jid: str
    device: int | None
    display_name: str | None
    status: BackendStatus
    connection_type: PhoneType
    last_connected_at: datetime | None
    qr_code: str | None = field(repr=False)
    updated_at: datetime | None


def list_phones(conn: Connection, backend: Backend, organization_id: int | None = None) -> list[Phone]:
    """All phones, or those of one organization, in order of organization and id."""
    backend.require_phones()
    values = {"organization_id": as_stored(organization_id)}
    rows = conn.execute(_SQL.all.format(phones=backend.phones), values).fetchall()
    if rows and not (readable := [row for row in rows if organization_of(row["organizationId"]) is not None]):
        raise DatabaseError(_no_organization(rows[0]))
    return _phones(conn, backend, readable if rows else [])


def left_out(conn: Connection, backend: Backend) -> list[str]:
    """What to tell of the rows that ``list_phones`` cannot list, each in a line."""
    backend.require_phones()
    rows = conn.execute(_SQL.all.format(phones=backend.phones), {"organization_id": None})
    return [_no_organization(row) for row in rows if organization_of(row["organizationId"]) is None]


def find(conn: Connection, backend: Backend, ref: PhoneRef, organization_id: int | None = None) -> Phone:
    """The one phone that is meant; raises PhoneNotFound or AmbiguousPhone."""
    backend.require_phones()
    if ref.digits is None:
        rows = conn.execute(_SQL.by_id.format(phones=backend.phones), {"phone_id": ref.phone_id}).fetchall()
        keyed: set[int] = set()
    else:
        rows = _rows_of(conn, backend, ref.digits, keyed=True)
        keyed = _organizations(rows[0]["keyed"]) if rows else organizations_with_keys(conn, backend, ref.digits)
    for row in rows:
        organization = organization_of(row["organizationId"])
        if organization is None:
            raise DatabaseError(_no_organization(row))
        row["organizationId"] = organization
    matching = [row for row in rows if organization_id in (None, row["organizationId"])]
    if not matching:
        elsewhere = {row["organizationId"] for row in rows}
        near = [] if elsewhere or ref.digits is None else _near(conn, backend, ref.digits)
        raise PhoneNotFound(_not_found(ref, organization_id, elsewhere, keyed, near))
    organizations = {row["organizationId"] for row in matching} | (keyed if organization_id is None else set())
    if len(organizations) > 1:
        raise AmbiguousPhone(_ambiguous(ref, {row["organizationId"] for row in matching}, keyed))
    if len(matching) > 1:
        rows_text = ", ".join(f"#{row['id']} ({row['phoneJid']})" for row in matching)
        raise AmbiguousPhone(f"{ref} has more than one row: {rows_text}; name one by its #id")
    return _phones(conn, backend, matching)[0]


def require_alone(conn: Connection, backend: Backend, phone: Phone) -> None:
    """Raise OwnedByAnother where another row of the number is a ``neonize`` phone: the store knows only the number."""
    rows = _rows_of_account(conn, backend, phone.number)
    for other in _phones(conn, backend, rows):
        if other.id != phone.id and other.connection_type == ConnectionType.NEONIZE:
            raise OwnedByAnother(
                f"{phone.number} is phone #{phone.id} of organization {phone.organization_id} and, as a neonize phone, "
                f"#{other.id} of organization {other.organization_id}, and the store has keys by number alone: "
                f"wa-sessions assign '#{other.id}' baileys, or remove it, first"
            )


def add(
    conn: Connection, backend: Backend, number: str, organization_id: int, display_name: str | None = None
) -> Phone:
    """A new ``neonize`` phone, status ``disconnected``; raises UsageError where the number has a row already."""
    backend.require_phones()
    if present := _rows_of(conn, backend, number):
        row = present[0]
        written = number_of(row["phoneJid"])
        known_as = f", written {written}: WhatsApp knows both as one account" if written != number else ""
        raise UsageError(f"{number} is already phone #{row['id']} of organization {row['organizationId']}{known_as}")
    values: dict[str, Any] = {
        "organizationId": str(organization_id),
        "phoneJid": f"{number}@s.whatsapp.net",
        "displayName": display_name,
        "status": backend.word("status", Status.DISCONNECTED),
        "connectionType": backend.word("connectionType", ConnectionType.NEONIZE),
    }
    values = {name: value for name, value in values.items() if name in backend.phone_columns}
    cells: dict[str, Composable] = {name: Placeholder(name) for name in values}
    if "updatedAt" in backend.phone_columns:
        cells["updatedAt"] = _NOW_UTC
    statement = _SQL.insert.format(
        phones=backend.phones,
        columns=SQL(", ").join(map(Identifier, cells)),
        values=SQL(", ").join(cells.values()),
    )
    row = _insert(conn, statement, values, number)
    if not backend.has_connection_type:
        conn.execute(_SQL.assign, {"phone_id": row["id"], "connection_type": "neonize"})
    leases.announce(conn)
    return _phones(conn, backend, [row])[0]


def assign(conn: Connection, backend: Backend, phone: Phone, connection_type: ConnectionType) -> None:
    """Say whose a phone is: ``baileys`` or ``neonize``; raises UsageError for ``waba`` and for ``waba`` phones."""
    if connection_type not in (ConnectionType.BAILEYS, ConnectionType.NEONIZE):
        raise UsageError(f"{str(connection_type)!r} is no connection type: write neonize or baileys")
    if phone.connection_type == ConnectionType.WABA:
        raise UsageError(f"{phone.number} is a waba phone (the official API): it has no keys and cannot be assigned")
    if backend.has_connection_type:
        _update(conn, backend, phone.id, {"connectionType": backend.word("connectionType", connection_type)})
    else:
        conn.execute(_SQL.assign, {"phone_id": phone.id, "connection_type": connection_type})
    leases.announce(conn)


def rename(conn: Connection, backend: Backend, phone_id: int, display_name: str | None) -> None:
    """Change what people call a phone. Raises PhoneNotFound, UsageError where the table has no such column."""
    if "displayName" not in backend.phone_columns:
        raise UsageError('this backend\'s table has no column "displayName": its phones have no names')
    _update(conn, backend, phone_id, {"displayName": display_name})


def set_status(
    conn: Connection,
    backend: Backend,
    phone_id: int,
    status: BackendStatus | Literal[Keep.KEEP],
    *,
    qr_code: str | Literal[Keep.KEEP] | None = KEEP,
    phone_jid: str | Literal[Keep.KEEP] = KEEP,
    connected_now: bool = False,
    of_number: str | None = None,
) -> None:
    """Change a phone's row; columns that the table lacks are left out. Raises PhoneNotFound, Conflict.

    ``of_number``: PhoneNotFound too where the row has another one by now.
    """
    values = {"status": status, "qrCode": qr_code, "phoneJid": phone_jid}
    changes = {name: value for name, value in values.items() if value is not KEEP}
    _update(conn, backend, phone_id, changes, connected_now=connected_now, of_number=of_number)


def referring_tables(conn: Connection, backend: Backend) -> list[str]:
    """The tables with a foreign key to the phones."""
    rows = conn.execute(_SQL.referring_tables, {"phones": backend.phones.as_string()})
    return [row["name"] for row in rows]


def _rows_of(conn: Connection, backend: Backend, number: str, *, keyed: bool = False) -> list[DictRow]:
    """The rows of a number; where there are none, those of the same account under its other spelling.

    ``keyed``: each with the organizations in which auth keys of its number stand.
    """
    rows = _rows_of_account(conn, backend, number, keyed=keyed)
    return [row for row in rows if number_of(row["phoneJid"]) == number] or rows


def _rows_of_account(conn: Connection, backend: Backend, number: str, *, keyed: bool = False) -> list[DictRow]:
    organizations: Composable = SQL("NULL")
    if keyed and backend.auth is not None:
        with_keys = _SQL.organizations_with_keys.format(auth_table=backend.auth.identifier, number=_SQL.number)
        organizations = SQL("ARRAY({})").format(with_keys)
    statement = _SQL.by_number.format(phones=backend.phones, keyed=organizations)
    return conn.execute(statement, {"numbers": list(spellings(number))}).fetchall()


def _update(
    conn: Connection,
    backend: Backend,
    phone_id: int,
    values: dict[str, Any],
    *,
    connected_now: bool = False,
    of_number: str | None = None,
) -> None:
    backend.require_phones()
    cells: dict[str, Composable] = {name: Placeholder(name) for name in values}
    cells |= {"updatedAt": _NOW_UTC} | ({"lastConnectedAt": _NOW_UTC} if connected_now else {})
    if "status" in backend.enums and "status" in values:
        values = values | {"status": backend.word("status", values["status"])}
    elif "status" in cells:
        cells["status"] = _SQL.status_as_it_is_spelled
    changes = [
        SQL("{} = {}").format(Identifier(name), cell) for name, cell in cells.items() if name in backend.phone_columns
    ]
    if not changes:
        return
    numbers = list(spellings(of_number)) if of_number else None
    statement = _SQL.update.format(phones=backend.phones, changes=SQL(", ").join(changes))
    try:
        with conn.transaction():
            updated = conn.execute(statement, values | {"phone_id": phone_id, "numbers": numbers}).fetchone()
    except errors.UniqueViolation:
        raise Conflict(f"{values.get('phoneJid')} stands already at another phone than #{phone_id}") from None
    if updated is None:
        other = f" with the number {of_number}" if of_number else ""
        raise PhoneNotFound(f"no phone has the id #{phone_id}{other} any more")


def _insert(conn: Connection, statement: Composed, values: dict[str, Any], number: str) -> DictRow:
    try:
        with conn.transaction():
            row: DictRow | None = conn.execute(statement, values).fetchone()
    except errors.UniqueViolation:
        raise UsageError(f"{number} has just been added by somebody else") from None
    except errors.IntegrityError as error:
        reason = error.diag.message_primary
        raise UsageError(f"the backend's table refuses {number} ({reason}): add the phone in the backend") from None
    if row is None:
        raise DatabaseError(f"the database did not keep {number}")
    return row


def organizations_with_keys(conn: Connection, backend: Backend, number: str) -> set[int]:
    """The organizations in which auth keys of a number stand, whether or not it has a row of its own there."""
    if backend.auth is None:
        return set()
    statement = _SQL.organizations_with_keys.format(auth_table=backend.auth.identifier, number=Placeholder("number"))
    return _organizations(row["id"] for row in conn.execute(statement, {"number": number}))


def _organizations(found: Iterable[Any] | None) -> set[int]:
    return {organization for id_ in found or () if (organization := organization_of(id_)) is not None}


def _phones(conn: Connection, backend: Backend, rows: list[DictRow]) -> list[Phone]:
    assigned = {} if backend.has_connection_type else _assignments(conn)
    return [_phone(row, assigned) for row in rows]


def _assignments(conn: Connection) -> dict[int, str]:
    found = conn.execute(_SQL.assignment_exists).fetchone()
    if not found or not found["present"]:
        return {}
    return {row["phone_id"]: row["connection_type"] for row in conn.execute(_SQL.assignments)}


def _phone(row: DictRow, assigned: dict[int, str]) -> Phone:
    jid = row["phoneJid"] or ""
    return Phone(
        id=row["id"],
        organization_id=int(row["organizationId"]),
        number=number_of(jid) or f"#{row['id']}",
        phone_jid=jid,
        device=device_of(jid),
        display_name=row.get("displayName"),
        status=status_of(row["status"] or ""),
        connection_type=connection_type_of(row.get("connectionType") or assigned.get(row["id"], "baileys")),
        last_connected_at=_utc(row.get("lastConnectedAt")),
        qr_code=row.get("qrCode"),
        updated_at=_utc(row.get("updatedAt")),
    )


def _no_organization(row: DictRow) -> str:
    value = str(row["organizationId"])[:40]
    return (
        f'phone #{row["id"]} is left out: its "organizationId" is {value!r}, and supported are whole numbers, which '
        "may be text"
    )


def _utc(moment: datetime | None) -> datetime | None:
    """Prisma's timestamps have no zone and mean UTC."""
    if moment is None:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _near(conn: Connection, backend: Backend, digits: str) -> list[str]:
    """Numbers of phones that may have been meant."""
    rows = conn.execute(_SQL.jids.format(phones=backend.phones))
    return nearest(digits, (number_of(row["jid"]) for row in rows))


def _not_found(
    ref: PhoneRef, organization_id: int | None, elsewhere: set[int], keyed: set[int], near: Sequence[str]
) -> str:
    where = f" in organization {organization_id}" if organization_id is not None else ""
    if elsewhere:
        return f"no phone {ref}{where}: it is in organization {_listed(elsewhere)}"
    if ref.digits is None:
        return f"no phone has the id {ref}{where}: wa-sessions sessions lists all"
    org = organization_id if organization_id is not None else "N"
    keys = f" (auth keys of it stand in organization {_listed(keyed)})" if keyed else ""
    meant = f"did you mean {' or '.join(near)}? All phones" if near else "all phones"
    return (
        f"no phone {ref}{where}{keys}: {meant}: wa-sessions sessions; or add it with wa-sessions add {ref} --org {org}"
    )


def _ambiguous(ref: PhoneRef, organizations: set[int], keyed: set[int]) -> str:
    keys_only = keyed - organizations
    extra = f" and, with auth keys only, {_listed(keys_only)}" if keys_only else ""
    return f"{ref} is in organization {_listed(organizations)}{extra}: choose one with --org"


def _listed(organizations: set[int]) -> str:
    return ", ".join(map(str, sorted(organizations)))
