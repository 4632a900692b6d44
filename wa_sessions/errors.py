"""Every error that an operator can meet, in one tree. A message says what is wrong and what to do next.

A worker does one of three things about an error: it waits (``StoreAway``), it tries again (``TryAgain``), and of
everything else it makes a fault, which is recorded and told.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status means (``check`` alone uses Nagios's codes)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_SUCH_PHONE = 3  # nor worker
    NO_DATABASE = 4
    OWNED = 5
    NOT_CONFIRMED = 6
    INTERRUPTED = 130


class WaSessionsError(Exception):
    """Base of all errors that wa-sessions raises on purpose; ``str()`` of it is one line for the operator."""

    exit_code = ExitCode.FAILED


class UsageError(WaSessionsError):
    """The words of a command do not make sense together."""

    exit_code = ExitCode.USAGE


class AmbiguousPhone(UsageError):
    """A number stands in more than one organization."""


class PhoneNotFound(WaSessionsError):
    """No phone answers to that number or id."""

    exit_code = ExitCode.NO_SUCH_PHONE


class WorkerNotFound(WaSessionsError):
    """No worker, or more than one, is called that."""

    exit_code = ExitCode.NO_SUCH_PHONE


class StoreAway(WaSessionsError):
    """The database takes no changes now. A worker closes its sockets, so WhatsApp keeps the messages, and waits."""

    exit_code = ExitCode.NO_DATABASE


class TryAgain(WaSessionsError):
    """Something stood in the way for a moment, and nothing was changed: the same again may go through."""


class DatabaseError(WaSessionsError):
    """No database can be used: none is configured, it cannot be reached, or it is not what was expected."""

    exit_code = ExitCode.NO_DATABASE


class DatabaseAway(DatabaseError, StoreAway):
    """The database was not reached or was lost, or its server cannot do its work."""


class ReadOnlyDatabase(StoreAway):
    """The server answers, and takes no changes: a standby, or a primary of old."""


class Busy(TryAgain):
    """Somebody else holds what is needed: a lock, or all connections."""


class Cancelled(TryAgain):
    """The server ended a statement: it took too long, or somebody had it ended."""


class SchemaMissing(WaSessionsError):
    """The schema ``wa_sessions`` is absent or of another version."""


class BackendChanged(WaSessionsError):
    """A table or column of the backend is gone that was there: a migration is on its way, or it was renamed."""


class PermissionMissing(WaSessionsError):
    """The database role lacks a right that the command needs."""


class OwnedByAnother(WaSessionsError):
    """Another process owns the session, so it may not be touched from here."""

    exit_code = ExitCode.OWNED


class NotConfirmed(WaSessionsError):
    """A destructive command was not confirmed."""

    exit_code = ExitCode.NOT_CONFIRMED


class Conflict(WaSessionsError):
    """An undo would overwrite something newer."""


def with_words(error: WaSessionsError, words: str) -> WaSessionsError:
    """The same error, which says more."""
    error.args = (f"{error}; {words}",)
    return error
