"""Both names of a peer, from what a phone's own keys know of it."""

from dataclasses import replace

from wa_sessions.db import whatsmeow
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.phones import Phone
from wa_sessions.db.sql import queries
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.keys.pairing_mark import plain_text
from wa_sessions.keys.selection import Peer

_SQL = queries("quarantine")


def completed(conn: Connection, backend: Backend, phone: Phone, peer: Peer) -> Peer:
    """The peer with its number and its LID, as far as the phone's key store maps one to the other."""
    for user in peer.users():
        if user in peer.numbers() and (lid := _lid_of(conn, backend, phone, user)):
            return replace(peer, lid=lid)
        if peer.lid == user and (number := _number_of(conn, backend, phone, user)):
            return replace(peer, number=number)
    return peer


def _lid_of(conn: Connection, backend: Backend, phone: Phone, number: str) -> str | None:
    if phone.connection_type == ConnectionType.NEONIZE:
        return whatsmeow.lid_of(conn, number)
    return _mapped(conn, backend, phone, f"lid-mapping-{number}")


def _number_of(conn: Connection, backend: Backend, phone: Phone, lid: str) -> str | None:
    if phone.connection_type == ConnectionType.NEONIZE:
        return whatsmeow.number_of(conn, lid)
    return _mapped(conn, backend, phone, f"lid-mapping-{lid}_reverse")


def _mapped(conn: Connection, backend: Backend, phone: Phone, key: str) -> str | None:
    """Baileys 7 keeps each mapping in a row of its own."""
    if backend.auth is None:
        return None
    statement = _SQL.lid_mapping.format(auth_table=backend.auth.identifier)
    values = {"organization_id": str(phone.organization_id), "number": phone.number, "key": key}
    row = conn.execute(statement, values).fetchone()
    return plain_text(row["value"]) if row else None
