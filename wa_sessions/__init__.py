"""Operator toolkit for WhatsApp sessions: the Python API.

Everything here is imported on its first use, so that ``import wa_sessions`` costs nothing. Which database is meant is
decided as on the command line: ``database_url``, else the environment, else the embedded one if there is one.
"""

from typing import TYPE_CHECKING, Any

from wa_sessions.errors import (
    AmbiguousPhone,
    Conflict,
    DatabaseError,
    NotConfirmed,
    OwnedByAnother,
    PermissionMissing,
    PhoneNotFound,
    SchemaMissing,
    UsageError,
    WaSessionsError,
)

if TYPE_CHECKING:
    from wa_sessions.actions.force_close import Closed
    from wa_sessions.actions.restore import Restored
    from wa_sessions.actions.stats import SessionErrorStats

    __version__: str

__all__ = [
    "AmbiguousPhone",
    "Closed",
    "Conflict",
    "DatabaseError",
    "NotConfirmed",
    "OwnedByAnother",
    "PermissionMissing",
    "PhoneNotFound",
    "Restored",
    "SchemaMissing",
    "SessionErrorStats",
    "UsageError",
    "WaSessionsError",
    "__version__",
    "aforce_close_session",
    "aget_session_error_stats",
    "arestore_operation",
    "force_close_session",
    "get_session_error_stats",
    "restore_operation",
]


def get_session_error_stats(phone_id: int, *, database_url: str | None = None) -> "SessionErrorStats":
    """How healthy the session of phone ``phone_id`` (``"OrganizationPhone"."id"``) is.

    Raises PhoneNotFound; DatabaseError where the database cannot be reached or none is configured.
    """
    from wa_sessions.actions.connection import open_database
    from wa_sessions.actions.stats import session_stats
    from wa_sessions.keys.phone_ref import PhoneRef

    with open_database(database_url, size=1) as opened:
        return session_stats(opened, PhoneRef(phone_id=phone_id))


def force_close_session(
    phone_id: int,
    reason: str = "closed through the API",
    *,
    logout: bool = False,
    process_stopped: bool = False,
    database_url: str | None = None,
) -> "Closed":
    """Close a session until ``wa-sessions run`` or ``restart``; blocks until its worker, if any, has done it.

    The WebSocket is closed, the counters are cleared, the status is ``disconnected``; ``logout`` also puts all keys
    into quarantine (status ``logged_out``), which ``restore_operation(result.operation)`` undoes.

    Raises PhoneNotFound; OwnedByAnother for a connected Baileys phone unless ``process_stopped`` says that its Node
    process is stopped; UsageError for a phone of the official API; SchemaMissing; DatabaseError; WaSessionsError where
    the worker does not answer within 20 s.
    """
    from wa_sessions.actions.connection import open_database
    from wa_sessions.actions.force_close import force_close
    from wa_sessions.keys.phone_ref import PhoneRef

    with open_database(database_url) as opened:
        ref = PhoneRef(phone_id=phone_id)
        return force_close(opened, ref, reason=reason, logout=logout, process_stopped=process_stopped)


def restore_operation(operation: str, *, process_stopped: bool = False, database_url: str | None = None) -> "Restored":
    """Bring back the keys that ``operation`` (as in ``op-20260115-7f3k9q``) took, byte for byte.

    Raises Conflict where something newer stands or it was restored already; OwnedByAnother for a connected Baileys
    phone unless ``process_stopped``; SchemaMissing; DatabaseError; WaSessionsError for an unknown operation, or where
    the worker does not answer within 30 s.
    """
    from wa_sessions.actions.connection import open_database
    from wa_sessions.actions.restore import restore

    with open_database(database_url) as opened:
        return restore(opened, operation, process_stopped=process_stopped)


async def aget_session_error_stats(phone_id: int, *, database_url: str | None = None) -> "SessionErrorStats":
    """``get_session_error_stats`` on a thread."""
    import asyncio

    return await asyncio.to_thread(get_session_error_stats, phone_id, database_url=database_url)


async def aforce_close_session(
    phone_id: int,
    reason: str = "closed through the API",
    *,
    logout: bool = False,
    process_stopped: bool = False,
    database_url: str | None = None,
) -> "Closed":
    """``force_close_session`` on a thread."""
    import asyncio

    return await asyncio.to_thread(
        force_close_session,
        phone_id,
        reason,
        logout=logout,
        process_stopped=process_stopped,
        database_url=database_url,
    )


async def arestore_operation(
    operation: str, *, process_stopped: bool = False, database_url: str | None = None
) -> "Restored":
    """``restore_operation`` on a thread."""
    import asyncio

    return await asyncio.to_thread(
        restore_operation, operation, process_stopped=process_stopped, database_url=database_url
    )


_LAZY = {
    "Closed": "wa_sessions.actions.force_close",
    "Restored": "wa_sessions.actions.restore",
    "SessionErrorStats": "wa_sessions.actions.stats",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("wa-sessions")
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'wa_sessions' has no attribute {name!r}")
