"""Reading connection strings as people have them (Prisma's among them) without ever repeating one in an error.

Several hosts may stand in one, of which one at a time is the primary.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode

from psycopg import ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from wa_sessions import config
from wa_sessions.errors import DatabaseError

FOREIGN = frozenset(
    {
        "schema", "connection_limit", "pool_timeout", "socket_timeout", "pgbouncer", "statement_cache_size",
        "max_idle_connection_lifetime", "max_connection_lifetime", "single_use_connections", "sslaccept", "sslidentity",
        "sslpassword",
    }
)  # fmt: skip
"""What Prisma adds to a URL and no driver beneath it knows (its ``sslpassword`` opens its ``sslidentity``)."""

NO_VERIFY = "no-verify"
"""How node-postgres calls TLS without a look at the certificate; libpq's ``require``."""

_POSTGRES = re.compile(r"postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
_SCHEME = re.compile(r"([a-zA-Z][\w+.-]*)://")
_ASSIGNMENT = re.compile(r"""(?:export\s+)?[A-Z][A-Z0-9_]*\s*[=:]\s*(?=["']?postgres)""")
URL_HINT = "special characters of a password must be percent-encoded"
WORDS_HINT = "a value with spaces must be quoted, as in password='…'"
_Parts = Mapping[str, str | int | None]
_LISTS = ("host", "hostaddr", "port")
_PORT = 5432


def read_dsn(text: str, source: str) -> tuple[str, str | None]:
    """A conninfo for libpq, and Prisma's ``schema`` if there is one; ``source`` says in errors whence it came."""
    text = _unquoted(text.strip())
    if not text:
        raise DatabaseError(f"{source} is empty: give a postgresql:// URL")
    if "\0" in text or not _encodable(text):
        raise DatabaseError(f"{source} holds characters that no connection string can have")
    schema = None
    if is_postgres_url(text):
        text, query = split_query(text)
        schema = query.get("schema") or None
        text = with_query(text, _for_libpq(query, source))
    elif scheme := _SCHEME.match(text):
        raise DatabaseError(f"{source} is a {scheme[1]}:// URL, not a postgresql:// one")
    return _checked(text, source), schema


def is_postgres_url(text: str) -> bool:
    """Whether the text starts like a Postgres URL (a driver's name after ``+`` is let pass)."""
    return bool(_POSTGRES.match(text))


def split_query(url: str) -> tuple[str, dict[str, str]]:
    """A URL, its scheme made plain, and its parameters; a ``?`` inside a raw password is not the query's."""
    plain = _POSTGRES.sub("postgresql://", url, count=1)
    userinfo = plain.rfind("@")
    in_password = userinfo > 0 and "=" not in plain[plain.find("?") : userinfo]
    base, _, query = plain.partition("?") if not in_password else _partition_after(plain, userinfo)
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return base, {unquote(name): unquote(value) for name, _, value in pairs}


def with_query(base: str, query: Mapping[str, str]) -> str:
    """A URL with those parameters."""
    return f"{base}?{urlencode(query, safe='/', quote_via=quote)}" if query else base


def masked(parts: Mapping[str, object]) -> str:
    """A connection for people's eyes: user, host, port and database, never a password."""
    if parts.get("service"):
        return f"postgresql:///?service={parts['service']}"
    host = str(parts.get("host") or parts.get("hostaddr") or "")
    user = quote(str(parts["user"]), safe="") if parts.get("user") else ""
    secret = ":***" if parts.get("password") else ""
    at = "@" if user or secret else ""
    if "," in host:
        return _masked_list(parts, host, f"{user}{secret}{at}")
    port = f":{parts['port']}" if parts.get("port") and not host.startswith("/") else ""
    name = f"/{parts['dbname']}" if parts.get("dbname") else ""
    if host.startswith("/"):
        return f"postgresql://{user}{secret}{at}{name or '/'}?host={host}"
    return f"postgresql://{user}{secret}{at}{host}{port}{name}"


@dataclass(frozen=True, slots=True)
class Server:
    """Where a connection has led; ``host`` is a name, an address, or the folder of a unix socket."""

    host: str
    port: int


def has_several_hosts(given: _Parts) -> bool:
    """Whether an address (or libpq's variables, where it has no host) has several hosts."""
    named = given.get("host") or given.get("hostaddr") or config.libpq("PGHOST") or config.libpq("PGHOSTADDR")
    return "," in str(named or "")


def hosts(given: _Parts) -> list[tuple[str, int]]:
    """Host and port of each server in an address; one port alone is that of all hosts."""
    hosts = str(given.get("host") or given.get("hostaddr") or "localhost").split(",")
    ports = str(given.get("port") or "").split(",")
    return [(host, int(ports[at if len(ports) > 1 else 0] or _PORT)) for at, host in enumerate(hosts)]


def of_the_primary(given: _Parts, *, writable: bool, first: Server | None) -> dict[str, str]:
    """What a connection to ``given`` has to have besides: the one server that can be written to, unless it says which.

    ``first`` is tried before the others: a host that has vanished costs each connection its whole timeout.
    """
    lists = has_several_hosts(given)
    wanted = given.get("target_session_attrs") or config.libpq("PGTARGETSESSIONATTRS")
    added = {"target_session_attrs": "read-write"} if (lists or writable) and not wanted else {}
    return added | (_in_order(given, first) if lists and first else {})


def _masked_list(parts: Mapping[str, object], hosts: str, login: str) -> str:
    """Of several hosts, each with its own port; folders of unix sockets stand where libpq's URLs have them."""
    name = f"/{parts['dbname']}" if parts.get("dbname") else ""
    if "/" in hosts:
        return f"postgresql://{login}{name or '/'}?host={hosts}"
    ports = str(parts.get("port") or "").split(",")
    each = zip(hosts.split(","), ports if len(ports) > 1 else ports * len(hosts), strict=False)
    return f"postgresql://{login}{','.join(f'{host}:{port}' if port else host for host, port in each)}{name}"


def _partition_after(url: str, start: int) -> tuple[str, str, str]:
    head, mark, query = url[start:].partition("?")
    return url[:start] + head, mark, query


def _for_libpq(query: Mapping[str, str], source: str) -> dict[str, str]:
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()} | {"ssl"}
    kept = {name: value for name, value in query.items() if name in known and name not in FOREIGN}
    for name in query:
        if name.startswith("ssl") and name not in kept and name not in FOREIGN:
            raise DatabaseError(f"{source} has a parameter {name!r}, which libpq does not know: is it sslmode?")
    if kept.get("sslmode") == NO_VERIFY:
        kept["sslmode"] = "require"
    if "sslcert" in kept and "sslkey" not in kept:  # Prisma's sslcert is the authority's certificate
        authority = kept.pop("sslcert")
        if query.get("sslaccept") == "strict":
            kept |= {"sslrootcert": authority, "sslmode": "verify-full"}
    return kept


def _checked(text: str, source: str) -> str:
    try:
        parts = conninfo_to_dict(text)
    except ProgrammingError as error:
        reason = re.sub(r'".*"', '"…"', " ".join(str(error).split()))
        hint = URL_HINT if is_postgres_url(text) else WORDS_HINT
        raise DatabaseError(f"{source} is no connection string that libpq understands ({reason}); {hint}") from None
    except UnicodeDecodeError:  # percent-encoded bytes that are no UTF-8; the error itself would repeat them
        raise DatabaseError(f"{source} holds characters that no connection string can have; {URL_HINT}") from None
    if not parts:
        raise DatabaseError(f"{source} names no database: give a URL as in postgresql://user@host:5432/name")
    host, port, name = (str(parts.get(key) or "") for key in ("host", "port", "dbname"))
    misread = "@" in host or not re.fullmatch(r"[0-9,]*", port) or ("@" in name and "%40" not in text)
    if is_postgres_url(text) and misread:
        raise DatabaseError(f"{source} cannot be read as user, password, host, port and database; {URL_HINT}")
    if misread and not re.fullmatch(r"[0-9,]*", port):
        raise DatabaseError(f"{source} has a port that is no number")
    return make_conninfo(text)


def _unquoted(text: str) -> str:
    """What stands in quotes, or behind a variable's name where a line of an env file was pasted whole."""
    if assigned := _ASSIGNMENT.match(text):
        text = text[assigned.end() :].rstrip("; ")
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1].strip() if quoted else text


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_order(given: _Parts, first: Server) -> dict[str, str]:
    columns = {name: str(given[name]).split(",") for name in _LISTS if given.get(name)}
    for at, server in enumerate(hosts(given) if "host" in columns or "hostaddr" in columns else ()):
        if server == (first.host, first.port):
            return {name: ",".join(_moved_up(column, at)) for name, column in columns.items()}
    return {}


def _moved_up(column: list[str], at: int) -> list[str]:
    return column if len(column) == 1 else [column[at], *column[:at], *column[at + 1 :]]
