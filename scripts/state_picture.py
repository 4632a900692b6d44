"""Write the picture of the states into docs/architecture.md, found by driving the machine itself.

python scripts/state_picture.py [--print]

Every session that can be reached is given every event that it may meet, and all is answered that it asks for. An edge
is named for the event that began it.
"""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from wa_sessions.health.classify import Cause
from wa_sessions.health.model import Limits
from wa_sessions.health.reconnect import State
from wa_sessions.worker.effects import CheckRestore, CloseAtLimit, CloseClient, FindDevice, OpenClient, RestoreKeys
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.machine import step
from wa_sessions.worker.ports import ClientLost, MoveAsked
from wa_sessions.worker.session import (
    ClientOpened,
    CollectionUnsynced,
    Command,
    CommandGiven,
    CommandSettled,
    DeviceFound,
    Event,
    RestoreAllowed,
    Session,
    Settings,
    Shutdown,
    Started,
    StoreBack,
    StoreLost,
    TimeOver,
    Verb,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
BEGIN, END = "<!-- states: begin, by scripts/state_picture.py -->", "<!-- states: end -->"

NUMBER = "77051234567"
DEVICE = f"{NUMBER}:1@s.whatsapp.net"
START = datetime(2026, 1, 1, tzinfo=UTC)

GROUPS = {
    "login": (
        "has a WebSocket, or is about to",
        [State.CONNECTING, State.CONNECTED, State.RECONNECTING, State.NO_ANSWER],
    ),
    "pause": ("comes back by itself", [State.UNREACHABLE, State.CRASHED, State.WAITING_FOR_STORE]),
    "down": (
        "stays down until somebody asks",
        [
            State.REPLACED,
            State.LOGGED_OUT,
            State.OUTDATED,
            State.LOGIN_REFUSED,
            State.FORCE_CLOSED,
            State.PAIRING_EXPIRED,
        ],
    ),
}
FROM_CLIENTS: dict[str, Event] = {
    "logged in": protocol.Connected(1),
    "connection lost": protocol.Disconnected(1),
    "pings unanswered": protocol.PingUnanswered(1),
    "answers again": protocol.PingAnswered(1),
    "replaced": protocol.Replaced(1),
    "logged out": protocol.LoggedOut(1, "LOGGED_OUT"),
    "version refused": protocol.Outdated(1),
    "login refused": protocol.LoginRefused(1, "UNKNOWN"),
    "banned for a while": protocol.Banned(1, 3600),
    "banned, no end told": protocol.Banned(1, 0),
    "WhatsApp not reached": protocol.ConnectFailed(1, in_store=False, error=""),
    "key store fails": protocol.StoreFailed(1),
    "limit reached": CollectionUnsynced(protocol.Unsynced(1, "regular", Cause.BAD_DECRYPT)),
    "host crashed": ClientLost(1, "killed by signal 9"),
    "moved": MoveAsked(1),
}
WHILE_PAIRING: dict[str, Event] = {
    "QR scanned": protocol.Paired(1, DEVICE),
    "codes used up": protocol.PairingFailed(1, "timeout"),
}
NEVER_WHILE_PAIRING = {"logged in", "limit reached", "logged out", "replaced"}
ARGUMENTS = {"reason": "", "logout": False, "action": "", "operation": "", "selection": {}}
COMMANDS: dict[str, Event] = {
    verb.value.replace("_", "-"): CommandGiven(Command(1, verb, "", ARGUMENTS))
    for verb in (Verb.FORCE_CLOSE, Verb.CLEAN, Verb.RESTART, Verb.RELINK, Verb.RESTORE)
}

Edges = dict[tuple[str, str], set[str]]


def edges() -> Edges:
    """What leads from one state to another."""
    found: Edges = defaultdict(set)
    seen: set[object] = set()
    begun = Session(NUMBER, Settings(Limits(1, 1)))
    todo = deque(_after(begun, (Started(),), START, keys=keys) for keys in (True, False))
    found["[*]", State.CONNECTING].add("start")
    found["[*]", State.PAIRING].add("start without keys")
    while todo:
        before = todo.popleft()
        if _kind(before) in seen or before.finished:
            continue
        seen.add(_kind(before))
        for name, events, at in _may_meet(before):
            for after in [_after(before, events, at, keys=keys) for keys in _keys(before)]:
                if after.state is not before.state:
                    found[before.state, after.state].add(name)
                todo.append(after)
    return found


def _may_meet(session: Session) -> Iterator[tuple[str, tuple[Event, ...], datetime]]:
    """All that can happen to it next, and when."""
    if session.client is not None:
        pairing = session.state is State.PAIRING
        for name, event in (FROM_CLIENTS | (WHILE_PAIRING if pairing else {})).items():
            if not (pairing and name in NEVER_WHILE_PAIRING):
                yield name, (event,), START
    for name, event in COMMANDS.items():
        yield name, (event,), START
    yield "database lost and back", (StoreLost(), StoreBack()), START
    yield "shutdown", (Shutdown(),), START
    yield "time over", (TimeOver(),), START + timedelta(days=1)


def _keys(session: Session) -> list[bool]:
    """Whether the store can have keys of this session."""
    if session.state is State.PAIRING:
        return [False]
    return [True] if session.client is not None else [True, False]


def _after(session: Session, events: tuple[Event, ...], now: datetime, *, keys: bool) -> Session:
    """The session when all is answered that it asks for."""
    if not events:
        return replace(session, looked_at=START)
    event, *later = events
    after, effects = step(session, event, now)
    answers: list[Event] = []
    for part in (*effects.records, *effects.calls):
        keys = (keys or isinstance(part, RestoreKeys)) and not isinstance(part, CloseAtLimit)
        answers += _answers(part, keys=keys)
    return _after(after, (*answers, *later), now, keys=keys)


def _answers(part: object, *, keys: bool) -> list[Event]:
    """What follows at once on a record or a call."""
    match part:
        case FindDevice():
            return [DeviceFound(DEVICE if keys else None)]
        case OpenClient():
            return [ClientOpened(1)]
        case CloseClient(client):
            return [protocol.Stopped(client)]
        case CheckRestore(command):
            return [RestoreAllowed(command.id)]
        case RestoreKeys(command):
            return [CommandSettled(command.id, done=True)]
        case _:
            return []


def _kind(session: Session) -> object:
    """What tells sessions apart that rest."""
    return session.state, session.client, session.round_at is None, session.retry_at is None, session.returning


# ---------------------------------------------------------------------------------------------------- drawing


def picture() -> str:
    """The states as a Mermaid diagram."""
    lines = ["```mermaid", "stateDiagram-v2"]
    for group, (title, members) in GROUPS.items():
        lines += [f'    state "{title}" as {group} {{', *(f"        {state}" for state in members), "    }"]
    drawn: dict[tuple[str, str], list[str]] = defaultdict(list)
    for source, target, name in sorted(_grouped(edges())):
        drawn[source, target].append(name)
    lines += [f"    {source} --> {target}: {', '.join(names)}" for (source, target), names in drawn.items()]
    return "\n".join([*lines, "    stopped --> [*]", "```"])


def _grouped(found: Edges) -> set[tuple[str, str, str]]:
    """An edge that all states of a group have is one of the group."""
    single = {(str(source), str(target), name) for (source, target), names in found.items() for name in names}
    for group, (_, members) in GROUPS.items():
        for target, name in {(target, name) for _, target, name in single}:
            alike = {(str(source), target, name) for source in members if source != target}
            if alike and alike <= single:
                single = single - alike | {(group, target, name)}
    return single


def page() -> str:
    """The document with the picture in its place."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{picture()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(picture())
    else:
        PAGE.write_text(page(), encoding="utf-8")
