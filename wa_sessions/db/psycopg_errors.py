"""psycopg's errors as ours: one line for an operator, and what is to be done."""

import re

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from wa_sessions.db.settings import Target
from wa_sessions.errors import (
    BackendChanged,
    Busy,
    Cancelled,
    Conflict,
    DatabaseAway,
    DatabaseError,
    PermissionMissing,
    ReadOnlyDatabase,
    SchemaMissing,
    UsageError,
    WaSessionsError,
)

_UNDEFINED = (errors.UndefinedTable, errors.InvalidSchemaName, errors.UndefinedColumn, errors.UndefinedFunction)
_STANDBY = "failed: session is read-only"
_FUNCTION = re.compile(r"function (\S+\(.*?\)) line")


def in_our_words(error: Exception, target: Target) -> WaSessionsError | None:
    """The error as ours, which repeats no password; None for what no operator can mend."""
    return _in_the_way(error) or _of_tables(error) or _of_values(error) or _of_the_server(error, target)


def _in_the_way(error: Exception) -> WaSessionsError | None:
    match error:
        case errors.DeadlockDetected() | errors.SerializationFailure() | errors.LockNotAvailable():
            return Busy(f"another command was in the way ({_primary(error)}): run it again")
        case errors.QueryCanceled():
            return Cancelled(f"the server ended a statement ({_primary(error)}): run it again")
        case _:
            return None


def _of_tables(error: Exception) -> WaSessionsError | None:
    if not isinstance(error, _UNDEFINED):
        return None
    if function := _FUNCTION.search(error.diag.context or ""):
        return DatabaseError(
            f"a trigger of the backend fails ({_primary(error)}): under wa-sessions names need their schema; run "
            f"ALTER FUNCTION {function[1]} SET search_path = its schema"
        )
    if "wa_sessions" not in str(error):
        return BackendChanged(f"the backend's tables are not what they were: {_primary(error)}")
    return SchemaMissing("the schema wa_sessions is missing or out of date: run wa-sessions db upgrade")


def _of_values(error: Exception) -> WaSessionsError | None:
    match error:
        case psycopg.DataError() | UnicodeEncodeError() | errors.ProgramLimitExceeded():  # the last: for an index
            return UsageError(f"a value that the database cannot hold: {_primary(error)}")
        case psycopg.IntegrityError():  # its detail repeats the row, keys and all
            return Conflict(f"the database refuses a row: {_primary(error)}")
        case _:
            return None


def _of_the_server(error: Exception, target: Target) -> WaSessionsError | None:
    match error:
        case errors.InsufficientPrivilege():
            role = _role(target)
            return PermissionMissing(
                f"the database role{role} lacks a right: {_primary(error)} (source: {target.source})"
            )
        case errors.ReadOnlySqlTransaction():
            return ReadOnlyDatabase(f"{target.masked} is read-only: {_primary(error)}")
        case psycopg.OperationalError() | psycopg.InterfaceError() | psycopg.InternalError():
            reason = _reason(error, target)
            kind = ReadOnlyDatabase if reason.endswith(_STANDBY) else DatabaseAway
            return kind(f"{target.masked}: {reason} (source: {target.source})")
        case _:
            return None


def _role(target: Target) -> str:
    user = conninfo_to_dict(target.conninfo).get("user")
    return f" {user}" if user else ""


def _primary(error: Exception) -> str:
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    return _one_line(str(error))


def _reason(error: Exception, target: Target) -> str:
    """libpq's words, without a password: of several attempts the last one that did not merely find a standby."""
    text = str(error)
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        text = error.diag.message_primary
    attempts = [line for line in text.splitlines() if "failed:" in line and not line.startswith("Multiple")]
    attempts = [line for line in attempts if not line.endswith(_STANDBY)] or attempts
    line = _one_line(attempts[-1] if attempts else text)
    line = re.sub(r"^(- host: .*?: )?connection failed: ", "", line)
    password = conninfo_to_dict(target.conninfo).get("password")
    return line.replace(str(password), "***") if password and len(str(password)) > 3 else line


def _one_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
