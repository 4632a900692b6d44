"""Generated lives of a session: what WhatsApp, hosts, operators, the database and time do, in any order."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property, partial

from hypothesis import strategies as st
from strategies.world import DEVICE, NEW_DEVICE, SECOND, WRONG_DEVICE, Fate, World

from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.health.events.workers import HandlerFailed
from wa_sessions.health.model import Limits
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.ports import MoveAsked
from wa_sessions.worker.session import CollectionUnsynced, Event, Shutdown, Verb


@dataclass(frozen=True)
class Move:
    """Something that somebody does."""

    name: str
    do: Callable[[World], object] = field(compare=False, repr=False)

    def __repr__(self) -> str:
        return self.name


def _undecrypted(client: int, message_id: str, cause: Cause = Cause.BAD_MAC) -> protocol.Undecrypted:
    sender = "1001:1@lid"
    return protocol.Undecrypted(client, message_id, sender, sender, False, cause, Encryption.MESSAGE)


def _fails_twice(world: World) -> None:
    """The retried copy fails too: an error that counts."""
    message_id = f"3EB0{len(world.moments)}"
    for _ in range(2):
        world.client_says(lambda client: _undecrypted(client, message_id))


def _connects(world: World) -> None:
    """What was on its way goes well, up to a login."""
    world.hosts_end_clients()
    if not world.session.online:
        world.wait_for_next_look()
    for said in (partial(protocol.Paired, jid=NEW_DEVICE), protocol.Connected):
        world.client_says(said)


def _stranger_scans(world: World) -> None:
    for said in (
        partial(protocol.QrCode, code="2@abc"),
        partial(protocol.Paired, jid=WRONG_DEVICE),
        protocol.Connected,
    ):
        world.client_says(said)


_ENDS: list[Callable[[int], Event]] = [
    protocol.Replaced,
    partial(protocol.LoggedOut, reason="LOGGED_OUT"),
    protocol.Outdated,
    partial(protocol.LoginRefused, reason="UNKNOWN"),
    partial(protocol.Banned, seconds=0),
    partial(protocol.Banned, seconds=3600),
    partial(protocol.ConnectFailed, in_store=True, error="x"),
    partial(protocol.ConnectFailed, in_store=False, error="x"),
    protocol.StoreFailed,
]
_SAID: list[Callable[[int], Event]] = [
    protocol.Starting,
    protocol.Connected,
    protocol.Disconnected,
    protocol.PingUnanswered,
    protocol.PingAnswered,
    partial(protocol.StreamError, code="515"),
    partial(protocol.QrCode, code="2@abc"),
    partial(protocol.Paired, jid=NEW_DEVICE),
    partial(protocol.Paired, jid=WRONG_DEVICE),
    partial(protocol.PairingFailed, reason="timeout"),
    partial(protocol.PairingFailed, reason="err-client-outdated"),
    partial(protocol.RetriesExhausted, message_id="3EB0A1"),
    partial(protocol.Decrypted, message_id="3EB0A2", sender="1001:1@lid", chat="1001@lid"),
    partial(_undecrypted, message_id="3EB0A1"),
    partial(_undecrypted, message_id="3EB0A3", cause=Cause.STORE),
]


def _name(said: Callable[[int], Event]) -> str:
    event = said(0)
    told = [str(getattr(event, part.name)) for part in fields(event) if part.name != "client"]
    return f"{type(event).__name__}({', '.join(told)})"


def _unsynced(client: int) -> Event:
    return CollectionUnsynced(protocol.Unsynced(client, "regular", Cause.BAD_DECRYPT), {"regular": 1})


def _says(said: Callable[[int], Event], world: World) -> None:
    world.client_says(said)


def _commands(verb: str, world: World) -> None:
    world.command(verb)


def _commits(fate: Fate, world: World) -> None:
    world.fates.append(fate)


CONNECT_MOVES = [
    *[Move("connects", _connects)] * 5,
    Move("a stranger scans", _stranger_scans),
    *[Move("MoveAsked", lambda world: world.client_says(MoveAsked))] * 2,
    Move("send", lambda world: world.command(Verb.SEND)),
]
END_MOVES = [Move(_name(said), partial(_says, said)) for said in _ENDS]
CLIENT_MOVES = [Move(_name(said), partial(_says, said)) for said in _SAID] + [
    Move("unsynced", lambda world: world.client_says(_unsynced)),
    Move("a message fails twice", _fails_twice),
    Move("a message fails twice", _fails_twice),
    Move("an earlier client said it was connected", lambda world: world.late_words(protocol.Connected)),
    Move("an earlier client said it was replaced", lambda world: world.late_words(protocol.Replaced)),
    Move("an earlier client ended", lambda world: world.late_words(protocol.Stopped)),
]
HOST_MOVES = [
    *[Move("hosts end clients", World.hosts_end_clients)] * 4,
    Move("host crashes", World.host_loses_client),
    Move("host ends itself", lambda world: world.host_loses_client(lease_ran_out=True)),
    Move("client is set aside", lambda world: world.host_loses_client(set_aside=True)),
    *[Move("WhatsApp answers", World.whatsapp_answers)] * 2,
    Move("WhatsApp refuses", lambda world: world.whatsapp_answers(error="not now")),
]
TIME_MOVES = [
    *[Move("next look", World.wait_for_next_look)] * 6,
    Move("100 ms", lambda world: world.wait(SECOND / 10)),
    Move("5 s", lambda world: world.wait(5 * SECOND)),
    Move("2 min", lambda world: world.wait(120 * SECOND)),
    Move("an hour", lambda world: world.wait(3600 * SECOND)),
]
COMMAND_MOVES = [
    Move(verb, partial(_commands, verb))
    for verb in (*Verb, Verb.SEND, Verb.RESTART, Verb.FORCE_CLOSE, "dance")
    if verb != Verb.RELEASE
] + [
    Move("force_close --logout", lambda world: world.command(Verb.FORCE_CLOSE, logout=True)),
    Move("restores are refused", lambda world: setattr(world.store, "refuses_restores", True)),
]
STORE_MOVES = [
    *[Move("store is lost", World.lose_store)] * 2,
    *[Move("store is back", World.find_store)] * 5,
    *[
        Move(f"next commit {fate.name}", partial(_commits, fate))
        for fate in (*Fate, Fate.SEEMS_TO_FAIL, Fate.SEEMS_TO_FAIL)
        if fate is not Fate.STANDS
    ],
]
RARE_MOVES = [
    Move("shutdown", lambda world: world.take(Shutdown())),
    Move("release", lambda world: world.command(Verb.RELEASE)),
    Move("lease lost", World.lose_lease),
    Move("worker is killed", World.kill_worker),
    Move("worker is killed", World.kill_worker),
    Move("handler fails", lambda world: world.take(HandlerFailed("3EB0", "x", 1.0))),
    Move("keys vanish", lambda world: setattr(world.store, "device", None)),
]

_WEIGHTS = [
    (CONNECT_MOVES, 6),
    (CLIENT_MOVES, 4),
    (END_MOVES, 2),
    (HOST_MOVES, 3),
    (TIME_MOVES, 3),
    (COMMAND_MOVES, 2),
    (STORE_MOVES, 4),
    (RARE_MOVES, 1),
]
moves = st.one_of([st.sampled_from(group) for group, weight in _WEIGHTS for _ in range(weight)])


_ALL = {move.name: move for group, _ in _WEIGHTS for move in group}
_OPENINGS = [
    tuple(_ALL[name] for name in names)
    for names in (
        (),
        ("connects",),
        ("connects", "store is lost"),
        ("connects", "MoveAsked", "hosts end clients"),
        ("connects", "a message fails twice"),
        ("connects", "Banned(3600)"),
        ("connects", "clean"),
        ("connects", "restart"),
        ("connects", "restore"),
        ("connects", "send"),
        ("connects", "PingUnanswered()"),
        ("connects", "force_close", "hosts end clients"),
        ("connects", "Replaced()", "hosts end clients"),
        ("a stranger scans",),
        ("next commit FAULTS",),
    )
]


@dataclass(frozen=True)
class History:
    """A life: how it begins, and all that happens."""

    paired: bool
    limits: Limits
    opening: tuple[Move, ...]
    moves: list[Move]

    def lived(self) -> World:
        """The world at its end."""
        world = World(self.limits, DEVICE if self.paired else None).start()
        for move in (*self.opening, *self.moves):
            move.do(world)
        return world

    @cached_property
    def ended(self) -> World:
        """The world at its end, for laws that change nothing in it."""
        return self.lived()

    @cached_property
    def at_rest(self) -> World:
        """The same after everybody has done what is theirs."""
        world = self.lived()
        world.behave()
        return world


histories = st.builds(
    History,
    st.sampled_from((True, True, False)),
    st.sampled_from((Limits(1, 1), Limits(2, 2), Limits())),
    st.sampled_from(_OPENINGS),
    st.one_of(st.lists(moves, max_size=12), st.lists(moves, min_size=8, max_size=40)),
)
