"""Operator toolkit for WhatsApp sessions: the Python API.

Everything here is imported on its first use, so that ``import wa_sessions`` costs nothing. Which database is meant is
decided as on the command line: ``database_url``, else the environment, a config file, the embedded one if there is one.
"""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from wa_sessions.errors import (
    AmbiguousPhone,
    Conflict,
    DatabaseError,
    NotConfirmed,
    OwnedByAnother,
    PermissionMissing,
    PhoneNotFound,
    SchemaMissing,
    StoreAway,
    TryAgain,
    UsageError,
    WaSessionsError,
    WorkerNotFound,
)

if TYPE_CHECKING:
    from wa_sessions.actions.engine.plan import Changed
    from wa_sessions.actions.repair.repairs import Repair, Repaired
    from wa_sessions.actions.repair.restore import Restored
    from wa_sessions.actions.sessions.drain import Drained
    from wa_sessions.actions.sessions.move import Moved
    from wa_sessions.actions.sessions.workers import WorkerList
    from wa_sessions.actions.watch.stats import SessionErrorStats

    __version__: str

P = ParamSpec("P")
R = TypeVar("R")

__all__ = [
    "AmbiguousPhone",
    "Changed",
    "Conflict",
    "DatabaseError",
    "Drained",
    "Moved",
    "NotConfirmed",
    "OwnedByAnother",
    "PermissionMissing",
    "PhoneNotFound",
    "Restored",
    "SchemaMissing",
    "SessionErrorStats",
    "StoreAway",
    "TryAgain",
    "UsageError",
    "WaSessionsError",
    "WorkerList",
    "WorkerNotFound",
    "__version__",
    "aclean_app_state",
    "aclean_sessions",
    "adrain_worker",
    "aforce_close_session",
    "aget_session_error_stats",
    "alist_workers",
    "amove_phone",
    "areset_status",
    "arestore_operation",
    "clean_app_state",
    "clean_sessions",
    "drain_worker",
    "force_close_session",
    "get_session_error_stats",
    "list_workers",
    "move_phone",
    "reset_status",
    "restore_operation",
]


def get_session_error_stats(phone_id: int, *, database_url: str | None = None) -> "SessionErrorStats":
    """How healthy the session of phone ``phone_id`` (``"OrganizationPhone"."id"``) is.

    Raises PhoneNotFound; DatabaseError where the database cannot be reached or none is configured.
    """
    from wa_sessions.actions.connection import open_database
    from wa_sessions.actions.watch.stats import session_stats
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
) -> "Repaired":
    """Close a session until ``wa-sessions run`` or ``restart``; blocks until its worker, if any, has done it.

    The WebSocket is closed, the counters are cleared, the status is ``disconnected``; ``logout`` also puts all keys
    into quarantine (status ``logged_out``), which ``restore_operation(result.operation)`` undoes.

    Raises PhoneNotFound; OwnedByAnother for a Baileys phone that its Node process runs (it does for all that is known,
    unless the status is ``disconnected``, ``logged_out`` or ``pending``), but where ``process_stopped`` says that it is
    stopped; UsageError for a phone of the official API; SchemaMissing; PermissionMissing; DatabaseError;
    WaSessionsError where the worker does not answer within 30 s.
    """
    from wa_sessions.actions.repair import repairs

    change = repairs.force_close(reason=reason, logout=logout)
    return _make(change, phone_id, process_stopped=process_stopped, database_url=database_url)


def clean_app_state(
    phone_id: int, *, with_keys: bool = False, process_stopped: bool = False, database_url: str | None = None
) -> "Repaired":
    """Put a phone's app-state versions into quarantine, so that they sync anew; ``with_keys`` the sync keys too.

    Raises as ``force_close_session``.
    """
    from wa_sessions.actions.repair import repairs

    change = repairs.clean_app_state(with_keys=with_keys)
    return _make(change, phone_id, process_stopped=process_stopped, database_url=database_url)


def clean_sessions(
    phone_id: int, *, peer: str | None = None, process_stopped: bool = False, database_url: str | None = None
) -> "Repaired":
    """Put a phone's sessions and sender keys into quarantine: those of one peer (number or LID), or all.

    Raises as ``force_close_session``.
    """
    from wa_sessions.actions.repair import repairs

    return _make(
        repairs.clean_sessions(peer=peer), phone_id, process_stopped=process_stopped, database_url=database_url
    )


def reset_status(phone_id: int, status: str, *, force: bool = False, database_url: str | None = None) -> "Repaired":
    """Set a phone's status in the database; ``force`` allows one that the backend is not known to have.

    Raises PhoneNotFound; UsageError; OwnedByAnother where a worker runs the phone; PermissionMissing; SchemaMissing.
    """
    from wa_sessions.actions.repair import repairs

    return _make(repairs.reset_status(status, force=force), phone_id, process_stopped=False, database_url=database_url)


def restore_operation(
    operation: str, *, overwrite: bool = False, process_stopped: bool = False, database_url: str | None = None
) -> "Restored":
    """Bring back the keys that ``operation`` (as in ``op-20260115-7f3k9q``) took, byte for byte.

    Raises Conflict where something newer stands, unless ``overwrite`` puts that into quarantine; OwnedByAnother for a
    connected Baileys phone unless ``process_stopped``; SchemaMissing; DatabaseError; WaSessionsError for an unknown
    operation, or where the worker does not answer within 30 s.
    """
    from wa_sessions.actions.connection import open_database
    from wa_sessions.actions.repair.restore import restore

    with open_database(database_url) as opened:
        return restore(opened, operation, overwrite=overwrite, process_stopped=process_stopped)


def list_workers(*, database_url: str | None = None) -> "WorkerList":
    """All workers: which phones each shares, how many it has, and whether it lives.

    Raises SchemaMissing; PermissionMissing; DatabaseError.
    """
    from wa_sessions.actions.connection import open_database
    from wa_sessions.actions.sessions import workers

    with open_database(database_url, size=1) as opened:
        return workers.list_workers(opened)


def drain_worker(
    worker: str,
    *,
    undo: bool = False,
    force: bool = False,
    wait: bool = True,
    timeout: float = 60.0,
    reason: str | None = None,
    database_url: str | None = None,
) -> "Drained":
    """Have a worker (host/pid, pid, or the beginning of its id) give its phones to others; blocks until it has none.

    ``undo`` has it take phones again. Raises WorkerNotFound; OwnedByAnother where nobody could take some of its phones,
    unless ``force``; WaSessionsError after ``timeout`` seconds, and for a worker that is dead or of an older version;
    SchemaMissing; PermissionMissing; DatabaseError.
    """
    from wa_sessions.actions.connection import open_database
    from wa_sessions.actions.sessions import drain

    with open_database(database_url) as opened:
        if undo:
            return drain.undo(opened, worker, reason=reason)
        begun = drain.begin(opened, drain.plan(opened, worker), force=force, reason=reason)
        return drain.wait(opened, begun, timeout) if wait else begun


def move_phone(phone_id: int, worker: str, *, timeout: float = 30.0, database_url: str | None = None) -> "Moved":
    """Have another worker (host/pid, pid, or the beginning of its id) run a phone; blocks until it has it.

    Raises PhoneNotFound; WorkerNotFound; OwnedByAnother for a phone that no worker may run; WaSessionsError where it
    has not happened within ``timeout`` seconds, or cannot; SchemaMissing; PermissionMissing; DatabaseError.
    """
    from wa_sessions.actions.connection import open_database
    from wa_sessions.actions.sessions.move import move
    from wa_sessions.keys.phone_ref import PhoneRef

    with open_database(database_url) as opened:
        return move(opened, PhoneRef(phone_id=phone_id), worker, timeout=timeout)


def _make(change: "Repair", phone_id: int, *, process_stopped: bool, database_url: str | None) -> "Repaired":
    from wa_sessions.actions.connection import open_database
    from wa_sessions.actions.engine.carry_out import make
    from wa_sessions.actions.engine.plan import Scope
    from wa_sessions.keys.phone_ref import PhoneRef

    with open_database(database_url) as opened:
        return make(opened, change, Scope(PhoneRef(phone_id=phone_id)), process_stopped=process_stopped)


def _on_thread(function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """The async twin of a function: it runs on a thread."""

    @wraps(function)
    async def twin(*args: P.args, **kwargs: P.kwargs) -> R:
        import asyncio

        return await asyncio.to_thread(function, *args, **kwargs)

    return twin


aget_session_error_stats = _on_thread(get_session_error_stats)
aforce_close_session = _on_thread(force_close_session)
aclean_app_state = _on_thread(clean_app_state)
aclean_sessions = _on_thread(clean_sessions)
areset_status = _on_thread(reset_status)
arestore_operation = _on_thread(restore_operation)
alist_workers = _on_thread(list_workers)
adrain_worker = _on_thread(drain_worker)
amove_phone = _on_thread(move_phone)

_LAZY = {
    "Changed": "wa_sessions.actions.engine.plan",
    "Drained": "wa_sessions.actions.sessions.drain",
    "Moved": "wa_sessions.actions.sessions.move",
    "Restored": "wa_sessions.actions.repair.restore",
    "SessionErrorStats": "wa_sessions.actions.watch.stats",
    "WorkerList": "wa_sessions.actions.sessions.workers",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("wa-sessions")
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'wa_sessions' has no attribute {name!r}")
