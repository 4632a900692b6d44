"""The life of a session, told in examples: its errors and closes."""

from datetime import timedelta
from functools import partial

import pytest
from strategies.lives import ANOTHER_PHONE, REPLACED, connected, fails, happened, pairing, unsynced
from strategies.world import (
    SECOND,
    Fate,
)

from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.health.events.workers import HandlerEnded, HandlerSlow
from wa_sessions.health.model import ErrorKind, Limits
from wa_sessions.health.reconnect import State
from wa_sessions.worker.effects import (
    CloseAtLimit,
    CloseClient,
    LookAtVersions,
    OpenClient,
)
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.machine import handler_note
from wa_sessions.worker.session import (
    VersionsSeen,
)


def test_at_a_limit_the_socket_closes_then_keys_go_then_it_pairs() -> None:
    world = connected(Limits(bad_mac=1))
    fails(world, "3EB0A1")
    assert world.session.ending
    assert happened(world, CloseClient, CloseAtLimit) == ["CloseClient"]
    world.hosts_end_clients()
    assert happened(world, CloseClient, CloseAtLimit, OpenClient) == [
        "OpenClient",
        "CloseClient",
        "CloseAtLimit",
        "OpenClient",
    ]
    assert (world.session.state, world.session.health.bad_mac) == (State.PAIRING, 0)


@pytest.mark.parametrize("fate", [Fate.FAILS, Fate.SEEMS_TO_FAIL])
@pytest.mark.parametrize("before", [0, 1])
def test_a_limit_that_is_reached_while_the_database_blinks_closes_once(fate: Fate, before: int) -> None:
    world = connected(Limits(bad_decrypt=1))
    world.fates.extend([Fate.STANDS] * before + [fate])
    unsynced(world)
    world.hosts_end_clients()
    world.behave()
    assert [record for record in world.store.log if isinstance(record, CloseAtLimit)] == [
        CloseAtLimit(ErrorKind.BAD_DECRYPT, 1, 1)
    ]
    assert world.session.state is State.PAIRING


def test_a_limit_that_a_session_reaches_after_its_end_opens_no_pairing() -> None:
    world = connected(Limits(bad_mac=1))
    fails(world, "3EB0A1", copies=1)
    world.client_says(REPLACED)
    fails(world, "3EB0A1", copies=1)
    world.hosts_end_clients()
    assert happened(world, CloseAtLimit) == ["CloseAtLimit"]
    assert (world.session.state, world.open) == (State.REPLACED, ())


def test_a_device_of_another_number_counts_no_errors() -> None:
    world = pairing()
    world.client_says(ANOTHER_PHONE)
    fails(world, "3EB0A1")
    assert world.session.health.bad_mac == 0


def test_versions_are_looked_at_however_much_happens() -> None:
    world = connected()
    unsynced(world)
    for number in range(8):
        world.wait(SECOND / 4)
        world.client_says(partial(protocol.Decrypted, message_id=f"3EB0{number}", sender="a@lid", chat="a@lid"))
    assert happened(world, LookAtVersions)
    assert world.session.health.bad_decrypt == 0


def test_versions_that_stay_reset_nothing() -> None:
    world = connected()
    unsynced(world)
    world.take(VersionsSeen({"critical_block": 0}))
    assert world.session.health.bad_decrypt == 1


def test_a_message_that_waits_too_long_is_lost_however_much_happens() -> None:
    world = connected()
    fails(world, "3EB0A1", copies=1)
    world.wait(timedelta(days=1, minutes=1))
    assert world.session.health.lost == 1


def test_a_store_that_fails_a_message_ends_the_login_at_once() -> None:
    world = connected()
    world.client_says(
        lambda client: protocol.Undecrypted(client, "3EB0A1", "a@lid", "a@lid", False, Cause.STORE, Encryption.MESSAGE)
    )
    assert (world.session.state, world.session.ending) == (State.WAITING_FOR_STORE, True)
    world.hosts_end_clients()
    world.wait(2 * SECOND)
    assert world.session.state is State.CONNECTING


def test_only_a_handler_that_had_a_message_in_hand_is_said_to_have_had_one() -> None:
    told = "the message handler's process ended"
    assert handler_note(HandlerEnded(error="SIGKILL")).message == f"{told}: SIGKILL"
    held = HandlerEnded("3EB0", "SIGKILL")
    assert handler_note(held).message == f"{told} with a message in hand: SIGKILL"


def test_what_handlers_do_is_written_down() -> None:
    world = connected()
    world.take(HandlerSlow("3EB0", 12.3, 7))
    note = world.store.log[-1]
    assert (note.message, note.detail) == (
        "the message handler takes more than 12 s; 7 messages waiting",
        HandlerSlow("3EB0", 12.3, 7),
    )
