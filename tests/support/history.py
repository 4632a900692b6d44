"""Events as any version of the program may have written them: whatever kind, with whatever detail."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries


def write_event(
    conn: Connection,
    phone_id: int,
    organization_id: int,
    kind: str,
    detail: Mapping[str, Any],
    *,
    operation_id: str | None = None,
    worker_id: UUID | None = None,
    at: datetime | None = None,
) -> int:
    """Write one; its id."""
    values = {
        "phone_id": phone_id,
        "organization_id": organization_id,
        "kind": kind,
        "detail": Jsonb(detail),
        "operation_id": operation_id,
        "worker_id": worker_id,
        "at": at,
    }
    row = conn.execute(queries("health").record_event, values).fetchone()
    assert row
    return int(row["id"])
