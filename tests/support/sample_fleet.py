"""A fleet with something of everything: what workers keep in the database while they watch their phones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from support.history import write_event

from wa_sessions.db import health
from wa_sessions.db.gateway import Connection
from wa_sessions.db.health import HealthRow
from wa_sessions.health.backend_words import session_state_of

WORKER = UUID("00000000-0000-4000-8000-000000000001")
_PHONE = """INSERT INTO public."OrganizationPhone" ("id", "organizationId", "phoneJid", "displayName", "status",
    "connectionType", "lastConnectedAt", "updatedAt") VALUES (%s, %s, %s, %s, %s, %s, now(), now())"""
_EVENT = "UPDATE wa_sessions.event SET at = now() - make_interval(secs => %s) WHERE id = %s"


@dataclass(frozen=True, slots=True)
class Watched:
    """A phone; ``state`` None is one that no worker runs. ``errors``: how many minutes ago each was counted."""

    number: str
    organization: int
    name: str
    status: str = "connected"
    connection_type: str = "neonize"
    state: str | None = "connected"
    counters: tuple[int, int] = (0, 0)
    lost: int = 0
    errors: tuple[int, ...] = ()
    story: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


_CLOSED: Mapping[str, Mapping[str, Any]] = {
    "message_pending": {"message_id": "3EB0F4A1", "cause": "bad_mac"},
    "session_closed": {"error_kind": "bad_mac", "count": 3, "limit": 3},
    "pairing_started": {},
    "pairing_expired": {},
}
FLEET = (
    Watched("77051234567", 1, "Reception", counters=(2, 0), lost=1, errors=(9, 8, 8, 2, 1), story={"connected": {}}),
    Watched("77017654321", 1, "Отдел продаж", counters=(0, 1), errors=(21, 20, 4), story={"connected": {}}),
    Watched("77021112233", 1, "Warehouse"),
    Watched("79269876543", 2, "東京支店", counters=(1, 0), errors=(0, 0, 0)),
    Watched("77471239876", 2, "Delivery", "logged_out", state="pairing_expired", errors=(14, 13, 12), story=_CLOSED),
    Watched("77077778899", 2, "Kiosk 24/7", "reconnecting", state="reconnecting"),
    Watched("998901234567", 3, "Tashkent", "disconnected", state=None),
    Watched("77001112233", 3, "Front desk", connection_type="baileys", state=None),
    Watched("77009998877", 3, "Support 👩‍💻 line", connection_type="waba", state=None),
)


def make(conn: Connection, fleet: tuple[Watched, ...] = FLEET) -> None:
    """Put the phones into an empty database with all tables, with ids from 1."""
    now = datetime.now(UTC)
    conn.execute(
        "INSERT INTO wa_sessions.worker (id, host, pid, version) VALUES (%s, 'msg1', 4711, '0.1.0')", (WORKER,)
    )
    for id_, phone in enumerate(fleet, 1):
        jid = f"{phone.number}@s.whatsapp.net"
        conn.execute(_PHONE, (id_, phone.organization, jid, phone.name, phone.status, phone.connection_type))
        if phone.state is not None:
            lease = "INSERT INTO wa_sessions.lease VALUES (%s, %s, 1, %s)"
            conn.execute(lease, (id_, WORKER, now + timedelta(hours=1)))
            health.save(conn, _row(id_, phone, now))
        for kind, detail in phone.story.items():
            _at(conn, write_event(conn, id_, phone.organization, kind, detail), 1_000)
        kind, limit = ("bad_decrypt", 5) if phone.counters[1] else ("bad_mac", 3)
        for minutes in phone.errors:
            detail = {"error_kind": kind, "count": 1, "limit": limit}
            _at(conn, write_event(conn, id_, phone.organization, "error_counted", detail), minutes * 60 + 20)


def _row(id_: int, phone: Watched, now: datetime) -> HealthRow:
    bad_mac, bad_decrypt = phone.counters
    last = now - timedelta(minutes=min(phone.errors), seconds=20) if phone.errors else None
    kind = "bad_decrypt" if bad_decrypt else "bad_mac"
    return HealthRow(
        id_,
        phone.organization,
        bad_mac,
        bad_decrypt,
        (),
        last,
        kind if last else None,
        7,
        phone.lost,
        session_state_of(phone.state or ""),
        None,
        now - timedelta(minutes=50),
        None,
        None,
    )


def _at(conn: Connection, event_id: int, seconds_ago: int) -> None:
    conn.execute(_EVENT, (seconds_ago, event_id))
