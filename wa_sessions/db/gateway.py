"""The only way to Postgres: connections, transactions, and libpq's errors turned into one line for an operator."""

import contextlib
import os
import re
import socket
import threading
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, TypeAlias

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row

from wa_sessions.db.settings import Target
from wa_sessions.db.sql import queries
from wa_sessions.errors import (
    BackendChanged,
    Conflict,
    Contended,
    DatabaseError,
    PermissionMissing,
    SchemaMissing,
    UsageError,
)

Connection: TypeAlias = psycopg.Connection[DictRow]

CONNECT_TIMEOUT = 5
WAIT_FOR_CONNECTION = 15.0
_FUNCTION = re.compile(r"function (\S+\(.*?\)) line")
_DEFAULTS: dict[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT,
    "application_name": "wa-sessions",
    "client_encoding": "UTF8",
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


_IN_THE_WAY = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable, errors.QueryCanceled)


class Database:
    """A few connections to one database, shared by the threads of a process."""

    def __init__(self, target: Target, size: int) -> None:
        self.target = target
        self._idle: list[Connection] = []
        self._free = threading.BoundedSemaphore(size)
        self._closed = self._cut = False
        self._made: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._making = threading.Lock()

    @classmethod
    def open(cls, target: Target, *, size: int = 4) -> Self:
        """Connect once, so that a database that cannot be reached is known at once; raises DatabaseError."""
        database = cls(target, size)
        with errors_of(target):
            database._idle.append(database._connect(autocommit=False))
        return database

    def close(self) -> None:
        """Close what is idle; connections in use close as they are given back."""
        self._closed = True
        self._drop_idle()

    def cut(self) -> None:
        """Break all connections: whoever waits for the server, on whatever thread, gets DatabaseError now.

        A server that was stopped, or a lock that is never given, would else keep a thread, and with it the process.
        """
        self._cut = True
        with self._making:
            made = list(self._made)
        for conn in made:
            cut(conn)
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction, committed at the end, rolled back by an exception.

        Raises DatabaseError, PermissionMissing, SchemaMissing, Conflict for a row that a constraint refuses, UsageError
        for a value that Postgres cannot hold.
        """
        if not self._free.acquire(timeout=WAIT_FOR_CONNECTION):
            raise Contended(f"all connections to {self.target.masked} are busy: run it again")
        try:
            with errors_of(self.target):
                conn = self._begin()
                try:
                    yield conn
                    conn.commit()
                finally:
                    self._give_back(conn)
        finally:
            self._free.release()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One read-only transaction that sees a single moment throughout, on a connection of its own.

        Raises what ``transaction`` raises.
        """
        with errors_of(self.target), contextlib.closing(self._connect(autocommit=False)) as conn:
            conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            conn.read_only = True
            _prepare(conn, self.target)
            yield conn

    def dedicated(self) -> Connection:
        """An autocommit connection of its own, for advisory locks and LISTEN; the caller closes it.

        It is left as the server made it, since a pooler may give it to others: queries on it need ``pinned``.
        """
        with errors_of(self.target):
            return self._connect(autocommit=True)

    def _connect(self, *, autocommit: bool) -> Connection:
        conn = _connect(self.target, autocommit=autocommit)
        with self._making:
            self._made.add(conn)
        if self._cut:
            conn.close()
            raise DatabaseError(f"{self.target.masked}: the connection was given up")
        return conn

    def _drop_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _begin(self) -> Connection:
        """A connection in a new transaction; an idle one may have died with its server since."""
        while True:
            try:
                conn = self._idle.pop()
            except IndexError:
                break
            with contextlib.suppress(psycopg.OperationalError, psycopg.InterfaceError):
                _prepare(conn, self.target)
                return conn
            conn.close()
        with contextlib.ExitStack() as failing:
            conn = failing.enter_context(contextlib.closing(self._connect(autocommit=False)))
            _prepare(conn, self.target)
            failing.pop_all()
        return conn

    def _give_back(self, conn: Connection) -> None:
        with contextlib.suppress(psycopg.Error):
            conn.rollback()
        usable = not conn.closed and conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if usable and not self._closed:
            self._idle.append(conn)
        else:
            conn.close()


def cut(conn: Connection) -> None:
    """Break a connection: whoever waits for its server, on whatever thread, gets DatabaseError now."""
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(conn.fileno())) as link:
        link.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def pinned(dedicated: Connection) -> Iterator[None]:
    """A transaction on a dedicated connection in which names mean what they mean everywhere else."""
    with dedicated.transaction():
        dedicated.execute(queries("session").pin)
        yield


def schemas(conn: Connection) -> list[str]:
    """The schemas in which the backend's tables are looked for: of the URL, or of the role's search path."""
    session = queries("session")
    conn.execute(session.unpin)
    row = conn.execute(session.schemas).fetchone()
    conn.execute(session.pin)
    return list(row["names"]) if row else []


@contextlib.contextmanager
def errors_of(target: Target) -> Iterator[None]:
    """Turn psycopg's errors into ours; none of them repeats a password."""
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise PermissionMissing(
            f"the database role{_role(target)} lacks a right: {_primary(error)} (source: {target.source})"
        ) from None
    except (errors.UndefinedTable, errors.InvalidSchemaName, errors.UndefinedColumn, errors.UndefinedFunction) as error:
        if function := _FUNCTION.search(error.diag.context or ""):
            raise DatabaseError(
                f"a trigger of the backend fails ({_primary(error)}): under wa-sessions names need their schema; run "
                f"ALTER FUNCTION {function[1]} SET search_path = its schema"
            ) from None
        if "wa_sessions" not in str(error):
            raise BackendChanged(f"the backend's tables are not what they were: {_primary(error)}") from None
        raise SchemaMissing("the schema wa_sessions is missing or out of date: run wa-sessions db upgrade") from None
    except errors.ReadOnlySqlTransaction as error:
        raise DatabaseError(f"{target.masked} is read-only: {_primary(error)}") from None
    except _IN_THE_WAY as error:
        raise Contended(f"another command was in the way ({_primary(error)}): run it again") from None
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseError(f"{target.masked}: {_reason(error, target)} (source: {target.source})") from None
    except psycopg.IntegrityError as error:  # its detail repeats the row, keys and all
        raise Conflict(f"the database refuses a row: {_primary(error)}") from None
    except (psycopg.DataError, UnicodeEncodeError) as error:
        raise UsageError(f"a value that the database cannot hold: {_primary(error)}") from None


def _connect(target: Target, *, autocommit: bool) -> Connection:
    given = conninfo_to_dict(target.conninfo)
    defaults = {name: value for name, value in _DEFAULTS.items() if name not in given}
    try:
        return psycopg.connect(
            target.conninfo, autocommit=autocommit, prepare_threshold=None, row_factory=dict_row, **defaults
        )
    except UnicodeError:
        raise DatabaseError(f"{target.masked}: no host can have such a name (source: {target.source})") from None


def _prepare(conn: Connection, target: Target) -> None:
    """UTC, and no names but Postgres's own: whoever may CREATE in a schema could have us call what he made there.

    For the transaction alone, so that a pooler's other clients never see it; it keeps the search path for ``schemas``.
    """
    conn.execute(queries("session").prepare, {"search_path": target.search_path})


def _role(target: Target) -> str:
    user = conninfo_to_dict(target.conninfo).get("user")
    return f" {user}" if user else ""


def _primary(error: Exception) -> str:
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    return _one_line(str(error))


def _reason(error: Exception, target: Target) -> str:
    """libpq's words, the last of several attempts, without a password."""
    text = str(error)
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        text = error.diag.message_primary
    attempts = [line for line in text.splitlines() if "failed:" in line and not line.startswith("Multiple")]
    line = _one_line(attempts[-1] if attempts else text)
    line = re.sub(r"^(- host: .*?: )?connection failed: ", "", line)
    password = conninfo_to_dict(target.conninfo).get("password")
    return line.replace(str(password), "***") if password and len(str(password)) > 3 else line


def _one_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
