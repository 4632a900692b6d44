"""Sessions as they are at the start of an example, what befalls them, and what was done."""

from datetime import timedelta
from functools import partial

from strategies.world import (
    NEW_DEVICE,
    WRONG_DEVICE,
    World,
)

from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.health.model import Limits
from wa_sessions.health.reconnect import State
from wa_sessions.worker.effects import (
    AnswerCommand,
    Call,
    Note,
    Record,
)
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.session import (
    CollectionUnsynced,
)

HOUR = timedelta(hours=1)
CONNECTED = protocol.Connected
REPLACED = protocol.Replaced
OUR_PHONE = partial(protocol.Paired, jid=NEW_DEVICE)
ANOTHER_PHONE = partial(protocol.Paired, jid=WRONG_DEVICE)
NO_MORE_CODES = partial(protocol.PairingFailed, reason="timeout")
QR = partial(protocol.QrCode, code="2@abc")


def connected(limits: Limits | None = None) -> World:
    world = World(limits).start()
    world.client_says(CONNECTED)
    assert world.session.state is State.CONNECTED
    return world


def pairing() -> World:
    world = World(device=None).start()
    world.client_says(QR)
    assert world.session.state is State.PAIRING
    return world


def fails(world: World, message_id: str, copies: int = 2) -> None:
    """A message does not decrypt, nor does the copy that was asked for."""
    for _ in range(copies):
        world.client_says(
            lambda client: protocol.Undecrypted(
                client, message_id, "1001:1@lid", "1001@lid", False, Cause.BAD_MAC, Encryption.MESSAGE
            )
        )


def unsynced(world: World) -> None:
    world.client_says(
        lambda client: CollectionUnsynced(protocol.Unsynced(client, "regular", Cause.BAD_DECRYPT), {"regular": 1})
    )


def happened(world: World, *kinds: type[Record | Call]) -> list[str]:
    """What was written and done of these kinds, in order."""
    both = [part for m in world.moments if m.stands for part in (*m.effects.records, *m.effects.calls)]
    return [type(part).__name__ for part in both if isinstance(part, kinds)]


def noted(world: World) -> list[str]:
    return [record.kind for record in world.store.log if isinstance(record, Note)]


def answer(world: World, command: int) -> object:
    """The one answer that a command has."""
    assert world.store.answers[command] == 1
    return next(r.result for r in world.store.log if isinstance(r, AnswerCommand) and r.command_id == command)
