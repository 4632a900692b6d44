"""neonize's tables, which have to be there before keys can be put into them."""

import asyncio

from wa_sessions.actions.connection import Opened
from wa_sessions.db import key_transfer, rights, settings, whatsmeow
from wa_sessions.db.gateway import Connection
from wa_sessions.worker.hosts.store import prepare_store


def require_store(conn: Connection, opened: Opened) -> bool:
    """Whether neonize has made its tables; those that are there must be the ones that we know, and writable.

    Raises DatabaseError, PermissionMissing.
    """
    if not key_transfer.has_store(conn):
        return False
    rights.require(conn, opened.backend, {"neonize"}, keys=("SELECT", "INSERT"))
    return True


def make_store(opened: Opened, store_url: str | None) -> None:
    """Let neonize make its tables, and see that we know them. Raises DatabaseError, PermissionMissing."""
    with opened.database.transaction() as conn:
        whatsmeow.ensure_schema(conn)
        url = settings.store_url(conn, opened.database.target, store_url)
    asyncio.run(prepare_store(url))
    with opened.database.transaction() as conn:
        key_transfer.require_store(conn)
