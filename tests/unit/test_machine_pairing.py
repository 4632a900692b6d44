"""The life of a session, told in examples: how it pairs."""

from datetime import timedelta
from functools import partial

import pytest
from strategies.lives import ANOTHER_PHONE, CONNECTED, HOUR, NO_MORE_CODES, OUR_PHONE, answer, happened, noted, pairing
from strategies.world import (
    NEW_DEVICE,
    SECOND,
    WRONG_DEVICE,
    Fate,
)

from wa_sessions.health.reconnect import State, Status
from wa_sessions.worker.effects import (
    ForgetDevice,
    ShowQr,
    UnlinkDevice,
)
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.session import (
    Verb,
)


def test_without_keys_it_shows_codes_until_one_is_scanned() -> None:
    world = pairing()
    assert (world.store.status, world.store.qr_code) == (Status.PENDING, "2@abc")
    assert happened(world, ShowQr) == ["ShowQr"]
    world.client_says(OUR_PHONE)
    world.client_says(CONNECTED)
    assert (world.session.state, world.store.status, world.store.qr_code) == (State.CONNECTED, Status.CONNECTED, None)
    assert world.session.device == NEW_DEVICE
    assert len(world.logins) == 1


def test_a_window_that_nobody_uses_expires() -> None:
    world = pairing()
    world.wait(timedelta(minutes=10))
    assert (world.session.state, world.store.status) == (State.PAIRING_EXPIRED, Status.LOGGED_OUT)
    world.hosts_end_clients()
    world.wait(24 * HOUR)
    assert world.open == ()
    command = world.command(Verb.RELINK)
    assert answer(world, command) == {"pairing": True}
    assert world.session.state is State.PAIRING


def test_a_client_whose_codes_are_used_up_is_followed_by_another() -> None:
    world = pairing()
    world.client_says(NO_MORE_CODES)
    assert "pairing_failed" not in noted(world)
    world.hosts_end_clients()
    assert world.open == ()
    world.wait(2 * SECOND)
    assert world.open == (2,)
    world.client_says(partial(protocol.PairingFailed, reason="err-unknown"))
    assert world.session.detail == "last attempt failed: err-unknown"
    assert noted(world)[-1] == "pairing_failed"


def test_another_phone_that_scans_is_unlinked_and_the_window_opens_anew() -> None:
    world = pairing()
    world.client_says(ANOTHER_PHONE)
    world.client_says(CONNECTED)
    assert happened(world, UnlinkDevice) == ["UnlinkDevice"]
    world.whatsapp_answers()
    world.hosts_end_clients()
    assert ForgetDevice(WRONG_DEVICE) in world.store.log
    assert "unlinked again" in next(r.message for r in world.store.log if getattr(r, "kind", "") == "wrong_number")
    assert (world.session.state, world.open) == (State.PAIRING, (2,))


def test_a_device_that_cannot_be_unlinked_is_named_and_forgotten() -> None:
    world = pairing()
    world.client_says(ANOTHER_PHONE)
    world.wait(31 * SECOND)
    world.hosts_end_clients()
    assert "remove it there" in next(r.message for r in world.store.log if getattr(r, "kind", "") == "wrong_number")
    assert not world.store.wrong_devices


@pytest.mark.parametrize("verb", [verb for verb in Verb if verb != Verb.RELEASE])
def test_commands_given_while_a_wrong_device_is_unlinked_are_answered(verb: Verb) -> None:
    world = pairing()
    world.client_says(ANOTHER_PHONE)
    command = world.command(verb)
    world.behave()
    assert world.store.answers[command] == 1
    assert not world.store.wrong_devices


def test_a_pairing_whose_news_was_lost_is_found_out() -> None:
    world = pairing()
    world.fates.append(Fate.FAULTS)
    world.client_says(OUR_PHONE)
    world.hosts_end_clients()
    assert (world.session.state, world.session.device) == (State.CONNECTING, NEW_DEVICE)
