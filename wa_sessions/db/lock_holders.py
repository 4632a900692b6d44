"""Who holds the lock that a statement waits for: what an operator is told who would else wait for ever."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wa_sessions.db.sql import queries
from wa_sessions.plain_text import one_line

if TYPE_CHECKING:
    from wa_sessions.db.gateway import Connection

COMMAND = "wa-sessions"
WORKER = "wa-sessions worker "
"""The application names of our own connections; a worker's goes on with its own."""

MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Holder:
    """A session of the server; what its role may not see of others is None. ``pid`` 0: a prepared transaction."""

    pid: int
    application: str | None
    role: str | None
    address: str | None
    kind: str | None

    def __str__(self) -> str:
        if self.pid == 0:
            return "a prepared transaction"
        name = one_line(self.application or "")
        if name.startswith(WORKER):
            return f"worker {name.removeprefix(WORKER)}"
        if not name and self.kind not in (None, "client backend"):
            name = str(self.kind)
        whose = "".join((f", role {self.role}" if self.role else "", f", at {self.address}" if self.address else ""))
        about = f"process {self.pid} of the server{whose}"
        return f"{name} ({about})" if name else about


def holders(conn: "Connection", waiting: int) -> tuple[Holder, ...]:
    """Those that the server's process ``waiting`` waits for, and that wait for nobody themselves."""
    return tuple(Holder(**row) for row in conn.execute(queries("locks").holders, {"waiting": waiting}))


def busy(found: Sequence[Holder]) -> str:
    """What to tell whoever waited in vain."""
    if not found:
        return "busy: somebody holds a lock that this needs: run it again"
    named = ", ".join(map(str, found[:MOST_NAMED]))
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"busy: {named}{more} {'holds' if len(found) == 1 else 'hold'} a lock that this needs: run it again"
