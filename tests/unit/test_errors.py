"""What Postgres says becomes an error of ours by what is to be done about it: wait, try again, or neither."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from wa_sessions.db.gateway import errors_of
from wa_sessions.db.settings import Target
from wa_sessions.errors import (
    BackendChanged,
    Busy,
    Cancelled,
    Conflict,
    DatabaseAway,
    DatabaseError,
    ExitCode,
    PermissionMissing,
    ReadOnlyDatabase,
    StoreAway,
    TryAgain,
    UsageError,
    WaSessionsError,
)

TARGET = Target("postgresql://ops:hunter2secret@db/wa", None, "test")
TRY, WAIT, NEITHER = TryAgain, StoreAway, None


def _kinds() -> Iterator[tuple[Exception, type[WaSessionsError], type[WaSessionsError] | None, ExitCode]]:
    yield errors.LockNotAvailable("lock"), Busy, TRY, ExitCode.FAILED
    yield errors.DeadlockDetected("deadlock"), Busy, TRY, ExitCode.FAILED
    yield errors.SerializationFailure("serial"), Busy, TRY, ExitCode.FAILED
    yield errors.QueryCanceled("cancelled"), Cancelled, TRY, ExitCode.FAILED
    yield errors.ReadOnlySqlTransaction("read-only"), ReadOnlyDatabase, WAIT, ExitCode.NO_DATABASE
    yield errors.AdminShutdown("shutdown"), DatabaseAway, WAIT, ExitCode.NO_DATABASE
    yield errors.TooManyConnections("too many"), DatabaseAway, WAIT, ExitCode.NO_DATABASE
    yield errors.DiskFull("disk full"), DatabaseAway, WAIT, ExitCode.NO_DATABASE
    yield psycopg.OperationalError("connection refused"), DatabaseAway, WAIT, ExitCode.NO_DATABASE
    yield psycopg.InterfaceError("the connection is closed"), DatabaseAway, WAIT, ExitCode.NO_DATABASE
    yield errors.InsufficientPrivilege("denied"), PermissionMissing, NEITHER, ExitCode.FAILED
    yield errors.UndefinedColumn("column"), BackendChanged, NEITHER, ExitCode.FAILED
    yield errors.UniqueViolation("duplicate"), Conflict, NEITHER, ExitCode.FAILED
    yield errors.NumericValueOutOfRange("range"), UsageError, NEITHER, ExitCode.USAGE


@pytest.mark.parametrize(("said", "ours", "category", "code"), list(_kinds()))
def test_each_error_is_of_one_category(
    said: Exception, ours: type[WaSessionsError], category: type[WaSessionsError] | None, code: ExitCode
) -> None:
    with pytest.raises(WaSessionsError) as raised, errors_of(TARGET):
        raise said
    assert type(raised.value) is ours
    assert [one for one in (TRY, WAIT) if isinstance(raised.value, one)] == ([category] if category else [])
    assert raised.value.exit_code is code
    assert "hunter2secret" not in str(raised.value)


def test_no_database_is_not_said_of_one_that_is_busy_or_read_only() -> None:
    assert not any(issubclass(one, DatabaseError) for one in (TryAgain, Busy, Cancelled, ReadOnlyDatabase))


def test_what_no_operator_can_mend_stays_what_it_is() -> None:
    with pytest.raises(errors.SyntaxError), errors_of(TARGET):
        raise errors.SyntaxError("SELEC")
