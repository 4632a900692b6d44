"""What a shell can offer from the database; nothing where it does not answer at once."""

from contextlib import suppress

from wa_sessions.actions.sessions.workers import read
from wa_sessions.db import suggestions
from wa_sessions.db.settings import resolve
from wa_sessions.errors import WaSessionsError


def phones(database_url: str | None, typed: str, organization: str | None = None) -> list[tuple[str, str]]:
    """Numbers that begin as typed, a plus too, with their names and organizations."""
    plus, digits = ("+", typed[1:]) if typed.startswith("+") else ("", typed)
    if organization is not None and not organization.isdecimal():
        return []
    with suppress(WaSessionsError), suggestions.hurried(resolve(database_url, allow_embedded="running")) as conn:
        found = suggestions.phones(conn, digits, int(organization) if organization else None)
        return [(f"{plus}{number}", meaning) for number, meaning in found]
    return []


def operations(database_url: str | None) -> list[tuple[str, str]]:
    """Operations that can still be undone, the newest first, with what they did to whom."""
    with suppress(WaSessionsError), suggestions.hurried(resolve(database_url, allow_embedded="running")) as conn:
        return suggestions.operations(conn)
    return []


def workers(database_url: str | None) -> list[tuple[str, str]]:
    """Workers that live, with their version and which phones they share."""
    with suppress(WaSessionsError), suggestions.hurried(resolve(database_url, allow_embedded="running")) as conn:
        return [(one.name, f"{one.version}, {one.scope_words}") for one in read(conn) if one.state.lives]
    return []
