"""A private installation whose database has a standby, where this machine can have one."""

from __future__ import annotations

from typing import Self

from bench_support import Stage
from two_servers import SETTINGS, TwoServers, why_not

from wa_sessions.actions.connection import open_target
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.settings import resolve


class StageOfTwo(Stage):
    """``server`` is the primary; ``servers`` is both, or None for ``why_not``. ``url`` leads to the primary."""

    def __init__(self, **settings: str) -> None:
        super().__init__(**{**SETTINGS, **settings})
        self.servers: TwoServers | None = None
        self.why_not: str | None = None

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.why_not = why_not(self.server)
            if self.why_not is None:
                self._have_standby()
        except BaseException:
            self.__exit__()
            raise
        return self

    @property
    def socket_paths(self) -> tuple[str, ...]:
        """Where each server listens."""
        both = self.servers.both if self.servers else (self.server,)
        return tuple(f"{server.socket_dir}/.s.PGSQL.5432" for server in both)

    def promote(self) -> None:
        """Make the standby the primary, once the primary is dead."""
        assert self.servers
        self.servers.promote()
        self.server = self.servers.primary

    def _have_standby(self) -> None:
        second = EmbeddedServer(self.folder / "other", settings=self._settings)
        self._stack.callback(second.stop)
        self.servers = TwoServers(self.server, second)
        self.servers.follow()
        folders = ",".join(server.socket_dir for server in self.servers.both)
        self.url = f"postgresql://postgres@/postgres?host={folders}&port=5432&target_session_attrs=read-write"
        self.opened = self._stack.enter_context(open_target(resolve(self.url)))
