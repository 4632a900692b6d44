"""The QR code that a phone is to scan now."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch.advice import case_of, session_step
from wa_sessions.actions.watch.stats import SessionErrorStats, is_scannable, session_stats
from wa_sessions.db import phones
from wa_sessions.db.phones import Phone
from wa_sessions.health.advice_cases import at_limit, closed_in_logs
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.phone_ref import PhoneRef

FRESH = timedelta(seconds=75)  # WhatsApp's first code lasts 60 s, each after it 20 s


@dataclass(frozen=True, slots=True)
class CurrentQr:
    """The text of a phone's QR, or why there is none and what to do; ``stale`` where it is older than a code lasts.

    ``comes``: a QR comes, whatever its status says still.
    """

    phone: Phone
    code: str | None = field(repr=False)
    why_none: str | None
    stale: bool = False
    comes: bool = False


def current_qr(opened: Opened, phone: PhoneRef, organization_id: int | None = None) -> CurrentQr:
    """Read the QR; it needs no right but SELECT on the backend's tables, and not our schema.

    Raises PhoneNotFound, AmbiguousPhone, DatabaseError.
    """
    with opened.database.transaction() as conn:
        found = phones.find(conn, opened.backend, phone, organization_id)
    comes = found.status == Status.CONNECTED and qr_comes(session_stats(opened, PhoneRef(phone_id=found.id)))
    why = no_use(found, comes=comes)
    if why is None and "qrCode" not in opened.backend.phone_columns:
        why = f'{found.number} has no QR here: this backend\'s "OrganizationPhone" has no column "qrCode"'
    if why is None and not found.qr_code:
        why = why_none(session_stats(opened, PhoneRef(phone_id=found.id)))
    if why is not None:
        return CurrentQr(found, None, why, comes=comes)
    stale = found.updated_at is not None and datetime.now(UTC) - found.updated_at > FRESH
    return CurrentQr(found, found.qr_code, None, stale, comes)


def qr_comes(stats: SessionErrorStats) -> bool:
    """PURE: whether a QR comes though its status may be connected still: it was closed at a limit, or is paired."""
    case = case_of(stats)
    pairs = stats.worker is not None and stats.state == State.PAIRING
    return pairs or at_limit(case) or closed_in_logs(case)


def why_none(stats: SessionErrorStats) -> str:
    """PURE: what to do about a phone without a QR."""
    if stats.connection_type == ConnectionType.BAILEYS:
        return f"{stats.phone} has no QR: the Node backend makes one when it starts; start it again if none comes"
    if stats.worker is None:
        return f"{stats.phone} has no QR, as no worker runs it: wa-sessions run {stats.phone} shows one if it needs one"
    if stats.state in (State.PAIRING, State.CONNECTING) or qr_comes(stats):
        return f"{stats.phone} has no QR yet: wait a moment, or wa-sessions qr {stats.phone} --watch"
    if stats.status == Status.LOGGED_OUT:
        return f"{stats.phone} has no QR; show one: wa-sessions relink {stats.phone}"
    return f"{stats.phone} has its keys, so it needs no QR: {session_step(stats) or 'it connects by itself'}"


def no_use(phone: Phone, *, comes: bool) -> str | None:
    """PURE: why a QR would not help, or what stands there is none."""
    if phone.connection_type == ConnectionType.WABA:
        return f"{phone.number} is a waba phone: the official API runs it, without a QR"
    if phone.status == Status.CONNECTED and not comes:
        return f"{phone.number} is connected: there is nothing to scan"
    code = phone.qr_code
    if code and code.startswith("data:"):
        return f'"qrCode" of {phone.number} holds a picture, not the text of a QR: look at it in the backend'
    if code and not is_scannable(code):
        return f'"qrCode" of {phone.number} holds something that is not the text of a QR'
    return None
