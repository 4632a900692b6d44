"""A phone's auth keys: how many of which type, in which store, of what size, and their names. Never a value."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wa_sessions.actions.connection import Opened
from wa_sessions.db import auth_keys, phones, whatsmeow
from wa_sessions.db.auth_keys import Sums
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.errors import AmbiguousPhone, PhoneNotFound, UsageError
from wa_sessions.health.backend_words import ConnectionType, PhoneType
from wa_sessions.keys.key_types import KEY_TYPES
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.whatsmeow_tables import TABLES

BAILEYS, WHATSMEOW = "baileys", "whatsmeow"
_TYPES = {BAILEYS: KEY_TYPES, WHATSMEOW: tuple(sorted({table.kind for table in TABLES}))}


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose keys are meant; ``phone_id`` is None where keys stand in an organization that has no row of the number.

    ``store`` is ``baileys``, ``whatsmeow`` or, for a phone of the official API, None.
    """

    phone_id: int | None
    phone: str
    organization_id: int
    store: str | None


@dataclass(frozen=True, slots=True)
class Keys:
    """A phone's keys by type; types without a key are left out. ``bytes``: see ``Sums``."""

    holder: Holder
    total: int
    bytes: int
    by_type: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values in one object."""
        return asdict(self.holder) | {"total": self.total, "bytes": self.bytes, "by_type": self.by_type}


@dataclass(frozen=True, slots=True)
class Names:
    """One page of the names of a phone's keys; ``next_after`` is the name to go on after, None on the last page."""

    holder: Holder
    type: str | None
    names: list[str]
    next_after: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values in one object."""
        return asdict(self.holder) | {"type": self.type, "names": self.names, "next_after": self.next_after}


def keys(opened: Opened, phone: PhoneRef, organization_id: int | None = None) -> Keys:
    """Count a phone's keys; it needs no right but SELECT on the tables that it reads, and not our schema.

    Raises PhoneNotFound, AmbiguousPhone, PermissionMissing, DatabaseError.
    """
    with opened.database.transaction() as conn:
        holder = _holder(conn, opened.backend, phone, organization_id)
        found = _sums(conn, opened.backend, holder)
    return Keys(holder, sum(found.by_type.values()), found.bytes, in_order(found.by_type))


def key_names(
    opened: Opened,
    phone: PhoneRef,
    organization_id: int | None = None,
    *,
    key_type: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Names:
    """The names of a phone's keys, of one type if given, those after a name, at most ``limit``.

    Raises what ``keys`` raises, and UsageError for a type that the phone's store does not have.
    """
    with opened.database.transaction() as conn:
        holder = _holder(conn, opened.backend, phone, organization_id)
        _require_type(holder, key_type)
        listed = _names(conn, opened.backend, holder, key_type, after, limit + 1)
    page = listed[:limit]
    return Names(holder, key_type, page, page[-1] if len(listed) > limit else None)


def store_of(connection_type: PhoneType) -> str | None:
    """Where the keys of a phone stand by what its connection type says; None: the official API has none."""
    if connection_type == ConnectionType.WABA:
        return None
    return WHATSMEOW if connection_type == ConnectionType.NEONIZE else BAILEYS


def in_order(by_type: Mapping[str, int]) -> dict[str, int]:
    """The types with the most keys first."""
    return dict(sorted(by_type.items(), key=lambda item: (-item[1], item[0])))


def _holder(conn: Connection, backend: Backend, phone: PhoneRef, organization_id: int | None) -> Holder:
    try:
        found = phones.find(conn, backend, phone, organization_id)
    except PhoneNotFound:
        if phone.digits is None:
            raise
        keyed = phones.organizations_with_keys(conn, backend, phone.digits)
        keyed &= {organization_id} if organization_id is not None else keyed
        if not keyed:
            raise
        if len(keyed) > 1:
            listed = ", ".join(map(str, sorted(keyed)))
            raise AmbiguousPhone(
                f"auth keys of {phone}, which is no phone, stand in organization {listed}: choose one with --org"
            ) from None
        return Holder(None, phone.digits, keyed.pop(), BAILEYS)
    return Holder(found.id, found.number, found.organization_id, store_of(found.connection_type))


def _sums(conn: Connection, backend: Backend, holder: Holder) -> Sums:
    match holder.store:
        case "baileys":
            return auth_keys.sums(conn, backend, holder.organization_id, holder.phone)
        case "whatsmeow":
            return whatsmeow.sums(conn, holder.phone)
        case _:
            return Sums({}, 0)


def _names(
    conn: Connection, backend: Backend, holder: Holder, key_type: str | None, after: str | None, limit: int
) -> list[str]:
    page: dict[str, Any] = {"key_type": key_type, "after": after, "limit": limit}
    match holder.store:
        case "baileys":
            return auth_keys.names(conn, backend, holder.organization_id, holder.phone, **page)
        case "whatsmeow":
            return whatsmeow.names(conn, holder.phone, **page)
        case _:
            return []


def _require_type(holder: Holder, key_type: str | None) -> None:
    known = _TYPES.get(holder.store or "", ())
    if key_type is not None and known and key_type not in known:
        raise UsageError(f"{key_type[:40]!r} is no key type of the {holder.store} store: {', '.join(known)}")
