"""Why nobody knows how a phone's session is."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from wa_sessions.health.backend_words import BackendStatus, PhoneType, SessionState

FRESH = timedelta(minutes=5)
"""What was observed longer ago says nothing about now, unless somebody asks for less."""


class Because(StrEnum):
    """Why a severity is ``unknown``."""

    WABA = "waba"
    NODE = "baileys"
    LOGS = "logs"
    NO_WORKER = "no_worker"
    NO_SIGN_OF_LIFE = "no_sign_of_life"
    NOT_CONNECTED = "not_connected"
    NO_SCHEMA = "no_schema"
    NO_PERMISSION = "no_permission"
    FOREIGN = "unknown_type"


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why nobody knows how a phone is, and what is known of it even so.

    ``logs_age``: how long ago its logs were read; ``doubt``: why they do not tell how it is.
    """

    because: Because
    connection_type: PhoneType
    status: BackendStatus
    state: SessionState | None
    logs_age: timedelta | None = None
    doubt: str | None = None
