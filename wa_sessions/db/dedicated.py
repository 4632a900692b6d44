"""What is done with a connection of one's own: for advisory locks and LISTEN, or to break it."""

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg

from wa_sessions.db.sql import queries

if TYPE_CHECKING:
    from wa_sessions.db.gateway import Connection


def cut(conn: "Connection") -> None:
    """Break a connection: whoever waits for its server, on whatever thread, gets DatabaseAway now."""
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(conn.fileno())) as link:
        link.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def pinned(dedicated: "Connection", within: float | None = None, patience: float = 0.0) -> Iterator[None]:
    """A transaction on a dedicated connection in which names mean what they mean everywhere else.

    ``within``: seconds after which the server ends a statement that nobody waits for any more; else it would wait on.
    ``patience``: seconds, within those, that a lock is waited for; Busy then.
    """
    with dedicated.transaction():
        if within is None:
            dedicated.execute(queries("session").pin)
        else:
            limits = {"within": str(int(within * 1000)), "patience": str(int(patience * 1000))}
            dedicated.execute(queries("session").pin_within, limits)
        yield


def have_abandoned(conn: "Connection", after: float) -> None:
    """Have the server end a connection whose client is gone without a word; a unix socket knows of no such thing."""
    session = queries("session")
    probe = max(1, int(after / 4))
    conn.execute(session.keepalives, {"probe": str(probe), "count": str(max(1, round(after / probe) - 1))})
    if conn.info.server_version >= 120_000:
        # the kernel looks at it when a probe is due: half a probe earlier, so that the last one finds it over
        conn.execute(session.user_timeout, {"milliseconds": str(int((after - probe / 2) * 1000))})
