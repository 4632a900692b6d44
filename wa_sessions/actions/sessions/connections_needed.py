"""Whether a server has the connections that a worker will want of it."""

from dataclasses import dataclass

from wa_sessions.db.server import Limit
from wa_sessions.errors import DatabaseError
from wa_sessions.worker import log

EACH_AT_LEAST, EACH_AT_MOST = 1, 2
"""Connections of a session while it logs in, or when all reconnect: neonize makes a pool for each, which keeps two.
They go a minute later; 300 sessions had 604 in all, with the worker's (docs/performance.md).
"""

REMEDY = "raise that limit, run fewer phones here, or put a pooler in front of the key store (--store-url)"


@dataclass(frozen=True, slots=True)
class Need:
    """Connections that a worker wants. ``sessions``: those whose key store is on this server, as far as is known."""

    at_least: int
    at_most: int
    sessions: int

    def judge(self, limit: Limit) -> None:
        """Raise DatabaseError where it cannot work, warn where it may not: figures of the sessions are estimates."""
        if self.at_least + EACH_AT_LEAST * self.sessions > limit.left:
            raise DatabaseError(f"needs at least {self._sum(self.at_least, EACH_AT_LEAST)}; {limit}: {REMEDY}")
        if self.at_most + EACH_AT_MOST * self.sessions > limit.left:
            log.warn(f"may need {self._sum(self.at_most, EACH_AT_MOST)}; {limit}: {REMEDY}", event="few_connections")

    def _sum(self, own: int, each: int) -> str:
        plural = "" if self.sessions == 1 else "s"
        return (
            f"{own + each * self.sessions} connections to Postgres: {own} for the worker, {each * self.sessions} for "
            f"{self.sessions} session{plural}"
        )
