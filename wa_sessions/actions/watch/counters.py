"""A phone's error counters, where no worker keeps them."""

from dataclasses import replace
from datetime import UTC, datetime

from wa_sessions.db import health
from wa_sessions.db.gateway import Connection
from wa_sessions.db.health import HealthRow
from wa_sessions.db.phones import Phone
from wa_sessions.health.reconnect import State


def clear(conn: Connection, phone: Phone, state: State, detail: str) -> None:
    """Set both counters to 0 and note what became of the session."""
    now = datetime.now(UTC)
    blank = HealthRow(phone.id, phone.organization_id, 0, 0, (), None, None, 0, 0, state.value, None, now, None, None)
    row = replace(
        health.load(conn, phone.id) or blank,
        bad_mac_errors=0,
        bad_decrypt_errors=0,
        counted_senders=(),
        state=state.value,
        state_detail=detail,
        state_since=now,
        retry_at=None,
        closing=None,
    )
    health.save(conn, row)
