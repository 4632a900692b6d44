"""Several hosts in one address, of which one at a time is the primary."""

from collections.abc import Mapping
from dataclasses import dataclass

from wa_sessions import config

Parts = Mapping[str, str | int | None]
_LISTS = ("host", "hostaddr", "port")
_PORT = 5432


@dataclass(frozen=True, slots=True)
class Server:
    """Where a connection has led; ``host`` is a name, an address, or the folder of a unix socket."""

    host: str
    port: int


def several(given: Parts) -> bool:
    """Whether an address (or libpq's variables, where it has no host) has several hosts."""
    named = given.get("host") or given.get("hostaddr") or config.libpq("PGHOST") or config.libpq("PGHOSTADDR")
    return "," in str(named or "")


def listed(given: Parts) -> list[tuple[str, int]]:
    """Host and port of each server in an address; one port alone is that of all hosts."""
    hosts = str(given.get("host") or given.get("hostaddr") or "localhost").split(",")
    ports = str(given.get("port") or "").split(",")
    return [(host, int(ports[at if len(ports) > 1 else 0] or _PORT)) for at, host in enumerate(hosts)]


def options(given: Parts, *, writable: bool, first: Server | None) -> dict[str, str]:
    """What a connection to ``given`` has to have besides: the one server that can be written to, unless it says which.

    ``first`` is tried before the others: a host that has vanished costs each connection its whole timeout.
    """
    lists = several(given)
    wanted = given.get("target_session_attrs") or config.libpq("PGTARGETSESSIONATTRS")
    added = {"target_session_attrs": "read-write"} if (lists or writable) and not wanted else {}
    return added | (_in_order(given, first) if lists and first else {})


def _in_order(given: Parts, first: Server) -> dict[str, str]:
    columns = {name: str(given[name]).split(",") for name in _LISTS if given.get(name)}
    for at, server in enumerate(listed(given) if "host" in columns or "hostaddr" in columns else ()):
        if server == (first.host, first.port):
            return {name: ",".join(_moved_up(column, at)) for name, column in columns.items()}
    return {}


def _moved_up(column: list[str], at: int) -> list[str]:
    return column if len(column) == 1 else [column[at], *column[:at], *column[at + 1 :]]
