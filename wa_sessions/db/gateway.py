"""The only way to Postgres: connections, transactions, and libpq's errors turned into one line for an operator."""

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row

from wa_sessions.db import dsn
from wa_sessions.db.dedicated import cut, have_abandoned
from wa_sessions.db.dsn import Server
from wa_sessions.db.lock_holders import COMMAND, Holder, busy, holders
from wa_sessions.db.psycopg_errors import in_our_words
from wa_sessions.db.settings import Target
from wa_sessions.db.sql import queries
from wa_sessions.errors import Busy, DatabaseAway, DatabaseError, ReadOnlyDatabase

T = TypeVar("T")

CONNECT_TIMEOUT = 5
WAIT_FOR_CONNECTION = 15.0
DEADLINE = 15.0
"""Seconds of silence after which a worker gives a connection up. Its statements take milliseconds, so this is ten times
what a checkpoint or a busy disk holds one up, and half of what an operator's command waits for the worker's answer.
"""

SERVER_SHARE = 0.8
"""Of the deadline, after which a server that lives ends the statement itself (a lock, say): nothing is left behind
there, and the connection stays.
"""

LOCK_TIMEOUT = 10.0
"""Seconds that a command waits for somebody else's lock: a worker or a backend holds one for milliseconds."""

LATER_LOCK_TIMEOUT = 1.0
ASK_AFTER = 0.6
"""Of a lock's timeout, after which it is asked who holds it: afterwards the server knows of nobody who waits."""

ABANDONED_AFTER = 4.0
"""Seconds after which the server ends a dedicated connection whose client has vanished: before a lease of 5 s is over.
"""

_DEFAULTS: dict[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT,
    "client_encoding": "UTF8",
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


class Link(psycopg.Connection[DictRow]):
    """``deadline``: seconds without a word from the server, while a statement waits for one, that end the connection.

    The network's own timeouts do not see a middlebox that acknowledges what it then forgets. psycopg looks up from its
    wait ten times a second anyway (for Ctrl-C), so this needs no thread that watches. ``on_silence`` is called once
    for each statement that has waited for ``silent_after`` seconds.
    """

    deadline: float | None = None
    silent_after: float | None = None
    on_silence: Callable[[], None] | None = None
    gave_up = False

    def wait(self, gen: PQGen[T], *arguments: Any, **options: Any) -> T:
        """As psycopg does it; closes the connection and raises OperationalError when the server is silent too long."""
        unwatched = self.deadline is None and self.silent_after is None
        return super().wait(gen if unwatched else self._watched(gen), *arguments, **options)

    def _watched(self, gen: PQGen[T]) -> Generator[Any, Any, T]:
        try:
            waits_for = next(gen)
            heard, told = time.monotonic(), False
            while True:
                if ready := (yield waits_for):
                    heard = time.monotonic()
                else:
                    told = self._silent_for(time.monotonic() - heard, told=told)
                waits_for = gen.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _silent_for(self, seconds: float, *, told: bool) -> bool:
        """Do what is due; whether the silence was told of."""
        if self.deadline is not None and seconds > self.deadline:
            self.gave_up = True
            self.close()
            raise psycopg.OperationalError(f"the server did not answer for {self.deadline:g} s")
        if not told and self.on_silence is not None and self.silent_after is not None and seconds > self.silent_after:
            self.on_silence()
            return True
        return told


Connection: TypeAlias = Link


class Database:
    """A few connections to one database, shared by the threads of a process.

    ``deadline``: seconds of silence in the middle of a statement after which its connection is given up, and whoever
    waits gets DatabaseAway. A server that lives ends such a statement a little earlier, which is Cancelled. Without
    one, as in commands, a statement takes as long as it takes: whoever typed the command has Ctrl-C.
    ``lock_timeout``: seconds for a lock of somebody else's, unless the role has its own; then Busy tells who holds it.
    ``writable``: a server that is read-only counts as one that is away. ``name``: what the server calls its
    connections. ``server``: the one that was reached last, of several hosts. ``at_first``: what is looked for as the
    first transaction begins.
    """

    def __init__(
        self,
        target: Target,
        size: int,
        *,
        deadline: float | None = None,
        lock_timeout: float | None = None,
        writable: bool = False,
        name: str = COMMAND,
    ) -> None:
        self.target, self.name = target, name
        self.server: Server | None = None
        self._deadline, self._lock_timeout, self._writable = deadline, lock_timeout, writable
        self._holders: dict[int, tuple[Holder, ...]] = {}
        self._idle: list[Connection] = []
        self._free = threading.BoundedSemaphore(size)
        self._closed = self._cut = False
        self.at_first: Callable[[Connection], None] | None = None
        self._made: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._making = threading.Lock()

    @classmethod
    def open(cls, target: Target, *, size: int = 4) -> Self:
        """One for commands, connected once, so that it is known at once if it cannot be reached; raises StoreAway."""
        database = cls(target, size, lock_timeout=LOCK_TIMEOUT)
        with errors_of(target):
            database._idle.append(database._connect(autocommit=False))
        return database

    def close(self) -> None:
        """Close what is idle; connections in use close as they are given back."""
        self._closed = True
        self._drop_idle()

    def cut(self) -> None:
        """Break all connections: whoever waits for the server, on whatever thread, gets DatabaseAway now.

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

        Raises StoreAway, TryAgain, PermissionMissing, SchemaMissing, BackendChanged, Conflict for a row that a
        constraint refuses, UsageError for a value that Postgres cannot hold.
        """
        if not self._free.acquire(timeout=WAIT_FOR_CONNECTION):
            raise Busy(f"all connections to {self.target.masked} are busy: run it again")
        try:
            with errors_of(self.target):
                conn = self._begin()
                try:
                    if self.at_first is not None:
                        self.at_first(conn)
                        self.at_first = None
                    yield conn
                    conn.commit()
                except errors.ReadOnlySqlTransaction:  # a standby, or a primary of old: the next one may be another
                    conn.close()
                    raise
                except errors.LockNotAvailable:
                    raise self._busy(conn) from None
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
            self._prepare(conn)
            yield conn

    def dedicated(self, abandoned_after: float = ABANDONED_AFTER) -> Connection:
        """An autocommit connection of its own, for advisory locks and LISTEN; the caller closes it, or ``cut``s it.

        The server ends it ``abandoned_after`` seconds after its client has vanished from the network. Else it is left
        as the server made it, since a pooler may give it to others: queries on it need ``pinned``. Raises StoreAway.
        """
        with errors_of(self.target), contextlib.ExitStack() as failing:
            conn = failing.enter_context(contextlib.closing(self._connect(autocommit=True)))
            have_abandoned(conn, abandoned_after)
            found = conn.execute(queries("session").read_only).fetchone()
            if found and found["read_only"] != "off":
                raise ReadOnlyDatabase(f"{self.target.masked} is read-only: it is a standby, or was set so")
            failing.pop_all()
        return conn

    def _connect(self, *, autocommit: bool) -> Connection:
        conn = _connect(self.target, autocommit=autocommit, writable=self._writable, first=self.server, name=self.name)
        conn.deadline = self._deadline
        conn.on_silence = partial(self._see_holders, conn.info.backend_pid)
        self.server = Server(conn.info.host, conn.info.port)
        with self._making:
            self._made.add(conn)
        if self._cut:
            conn.close()
            raise DatabaseAway(f"{self.target.masked}: the connection was given up")
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
                self._prepare(conn)
                return conn
            self._discard(conn)
        with contextlib.ExitStack() as failing:
            conn = failing.enter_context(contextlib.closing(self._connect(autocommit=False)))
            self._prepare(conn)
            failing.pop_all()
        return conn

    def _prepare(self, conn: Connection) -> None:
        """UTC, and no names but Postgres's own: whoever may CREATE in a schema could have us call what he made there.

        For the transaction alone, so that a pooler's other clients never see it; it keeps the search path for
        ``schemas``. A server that answers does so at once, so what lies idle and forgotten is found out early.
        """
        values = {
            "search_path": self.target.search_path,
            "statement_timeout": _milliseconds(self._deadline and self._deadline * SERVER_SHARE),
            "lock_timeout": _milliseconds(self._lock_timeout),
        }
        conn.deadline = None if self._deadline is None else min(self._deadline, CONNECT_TIMEOUT)
        conn.execute(queries("session").prepare, values)
        conn.deadline = self._deadline
        conn.silent_after = self._lock_timeout and self._lock_timeout * ASK_AFTER

    def _see_holders(self, waiting: int) -> None:
        """Look, on a connection of its own, whom the server's process ``waiting`` waits for."""
        self._holders.pop(waiting, None)
        with (
            contextlib.suppress(psycopg.Error),
            _connect(self.target, autocommit=False, writable=False, first=self.server, name=self.name) as conn,
        ):
            conn.execute(queries("session").pin)
            self._holders[waiting] = holders(conn, waiting)

    def _busy(self, conn: Connection) -> Busy:
        """What to raise after a lock that was not given. Who has locked one thing may have locked many."""
        if self._lock_timeout is not None:
            self._lock_timeout = min(self._lock_timeout, LATER_LOCK_TIMEOUT)
        return Busy(busy(self._holders.pop(conn.info.backend_pid, ())))

    def _discard(self, conn: Connection) -> None:
        """Close what is of no use; what has been idle beside a connection that was forgotten is forgotten too."""
        conn.close()
        if conn.gave_up:
            self._drop_idle()

    def _give_back(self, conn: Connection) -> None:
        with contextlib.suppress(psycopg.Error):
            conn.rollback()
        usable = not conn.closed and conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if usable and not self._closed:
            self._idle.append(conn)
        else:
            self._discard(conn)


@contextlib.contextmanager
def errors_of(target: Target) -> Iterator[None]:
    """Turn psycopg's errors into ours. What no operator can mend stays as it is."""
    try:
        yield
    except (psycopg.Error, UnicodeEncodeError) as error:
        known = in_our_words(error, target)
        if known is None:
            raise
        raise known from None


def schemas(conn: Connection) -> list[str]:
    """The schemas in which the backend's tables are looked for: of the URL, or of the role's search path."""
    row = conn.execute(queries("session").schemas).fetchone()
    return list(row["names"]) if row else []


def _milliseconds(seconds: float | None) -> str:
    """As Postgres takes a timeout: 0 is none."""
    return "0" if seconds is None else str(max(1, int(seconds * 1000)))


def _connect(target: Target, *, autocommit: bool, writable: bool, first: Server | None, name: str) -> Connection:
    given = conninfo_to_dict(target.conninfo)
    options = {key: value for key, value in (_DEFAULTS | {"application_name": name}).items() if key not in given}
    options |= dsn.of_the_primary(given, writable=writable, first=first)
    try:
        return Link.connect(
            target.conninfo, autocommit=autocommit, prepare_threshold=None, row_factory=dict_row, **options
        )
    except UnicodeError:
        raise DatabaseError(f"{target.masked}: no host can have such a name (source: {target.source})") from None
