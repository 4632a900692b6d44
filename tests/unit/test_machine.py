"""The life of a session, told in examples."""

from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from strategies.world import (
    DEVICE,
    NEW_DEVICE,
    NUMBER,
    SECOND,
    START,
    WRONG_DEVICE,
    Fate,
    StoreAway,
    World,
)

from wa_sessions.db.health import HealthRow
from wa_sessions.errors import UsageError
from wa_sessions.health.backend_words import UnknownWord
from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.health.events import connection as events
from wa_sessions.health.events.workers import HandlerEnded, HandlerSlow
from wa_sessions.health.model import ErrorKind, Limits
from wa_sessions.health.reconnect import State, Status
from wa_sessions.worker import mapping
from wa_sessions.worker.clock_steps import capped
from wa_sessions.worker.effects import (
    AnswerCommand,
    Call,
    CloseAtLimit,
    CloseClient,
    FindDevice,
    ForgetDevice,
    LogLine,
    LookAtVersions,
    Note,
    OpenClient,
    Record,
    ReleaseLease,
    RestoreKeys,
    SetStatus,
    ShowQr,
    UnlinkDevice,
)
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.machine import handler_note, seconds_to_look, step
from wa_sessions.worker.ports import MoveAsked
from wa_sessions.worker.session import (
    CollectionUnsynced,
    Event,
    LeaseLost,
    Resumed,
    Return,
    Session,
    Settings,
    Shutdown,
    StoreBack,
    StoreLost,
    TimeOver,
    Verb,
    VersionsSeen,
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


# --------------------------------------------------------------------------------------------------- connecting


def test_it_looks_for_the_device_connects_and_says_so() -> None:
    world = World().start()
    assert happened(world, FindDevice, OpenClient) == ["FindDevice", "OpenClient"]
    assert (world.session.state, world.store.status) == (State.CONNECTING, Status.LOADING)
    world.client_says(CONNECTED)
    assert (world.session.state, world.store.status) == (State.CONNECTED, Status.CONNECTED)
    assert SetStatus(Status.CONNECTED, None, DEVICE, connected_now=True) in world.store.log


def test_whatsapp_that_says_nothing_counts_as_unreachable_and_is_tried_again() -> None:
    world = World().start()
    world.wait(91 * SECOND)
    assert world.session.state is State.UNREACHABLE
    world.wait(8 * SECOND)
    assert world.session.state is State.CONNECTING
    assert world.session.attempts == 1


def _pause(world: World) -> timedelta:
    assert world.session.retry_at
    return world.session.retry_at - world.now


def test_pauses_grow_until_a_connection_lasts() -> None:
    world = World().start()
    pauses: list[float] = []
    for _ in range(8):
        world.client_says(partial(protocol.ConnectFailed, in_store=False, error="x"))
        world.hosts_end_clients()
        pause = _pause(world)
        pauses.append(pause.total_seconds())
        world.wait(pause)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    world.client_says(CONNECTED)
    world.wait(60 * SECOND)
    world.host_loses_client()
    assert world.session.retry_at == world.now + SECOND


def test_a_lost_connection_is_whatsmeows_to_mend_for_so_long() -> None:
    world = connected()
    world.client_says(protocol.Disconnected)
    assert (world.session.state, world.store.status) == (State.RECONNECTING, Status.RECONNECTING)
    world.client_says(CONNECTED)
    assert world.session.state is State.CONNECTED
    world.client_says(protocol.Disconnected)
    world.wait(91 * SECOND)
    assert world.session.state is State.UNREACHABLE


@pytest.mark.parametrize(("code", "said"), [("503", "with code 503"), ("", "without a code")])
def test_a_stream_that_whatsapp_ends_for_a_reason_that_nobody_knows_is_written_down(code: str, said: str) -> None:
    world = connected()
    world.client_says(partial(protocol.StreamError, code=code))
    [note] = [record for record in world.store.log if isinstance(record, Note) and record.kind == "stream_error"]
    assert said in (note.message or "")
    assert note.detail == events.StreamError(code)
    assert world.session.state is State.CONNECTED  # what becomes of the connection is told by what follows


def test_pings_that_are_not_answered_end_in_another_login() -> None:
    world = connected()
    world.client_says(protocol.PingUnanswered)
    assert world.session.state is State.NO_ANSWER
    world.client_says(protocol.PingAnswered)
    assert (world.session.state, world.session.deadline) == (State.CONNECTED, None)
    world.client_says(protocol.PingUnanswered)
    world.wait(91 * SECOND)
    assert world.session.state is State.UNREACHABLE


@pytest.mark.parametrize(
    ("end", "state", "status"),
    [
        (REPLACED, State.REPLACED, Status.DISCONNECTED),
        (partial(protocol.LoggedOut, reason="LOGGED_OUT"), State.LOGGED_OUT, Status.LOGGED_OUT),
        (protocol.Outdated, State.OUTDATED, Status.DISCONNECTED),
        (partial(protocol.LoginRefused, reason="UNKNOWN"), State.LOGIN_REFUSED, Status.DISCONNECTED),
        (partial(protocol.Banned, seconds=0), State.BANNED, Status.DISCONNECTED),
    ],
)
def test_what_whatsapp_ends_stays_down_until_somebody_asks(
    end: type[Any] | partial[Any], state: State, status: Status
) -> None:
    world = connected()
    world.client_says(end)
    assert (world.session.state, world.store.status) == (state, status)
    world.wait(24 * HOUR)
    assert (world.session.state, world.open) == (state, ())
    assert world.session.detail
    world.command(Verb.RESTART)
    assert world.session.state in (State.CONNECTING, State.PAIRING)


@pytest.mark.parametrize("how", [{}, {"lease_ran_out": True}, {"set_aside": True}])
def test_a_login_whose_host_is_gone_comes_back(how: dict[str, bool]) -> None:
    world = connected()
    world.host_loses_client(**how)
    assert world.session.state is (State.WAITING_FOR_STORE if "lease_ran_out" in how else State.CRASHED)
    pause = _pause(world)
    assert pause == timedelta(minutes=30) if how.get("set_aside") else pause <= 2 * SECOND
    world.wait(pause)
    assert world.session.state is State.CONNECTING


def test_a_ban_is_waited_out_by_another_worker_too() -> None:
    world = connected()
    world.client_says(partial(protocol.Banned, seconds=3600))
    command = world.command(Verb.RESTART)
    assert "banned by WhatsApp until" in str(answer(world, command))
    world.kill_worker()
    world.wait(HOUR - SECOND)
    assert (world.session.state, world.open) == (State.BANNED, ())
    world.wait(SECOND)
    assert world.session.state is State.CONNECTING


def test_a_ban_beyond_all_dates_is_a_ban() -> None:
    world = connected()
    world.client_says(partial(protocol.Banned, seconds=10**17))
    assert world.session.state is State.BANNED
    assert world.session.retry_at is not None


def test_a_ban_during_a_restart_is_waited_out_too() -> None:
    world = connected()
    command = world.command(Verb.RESTART)
    world.client_says(partial(protocol.Banned, seconds=3600))
    world.hosts_end_clients()
    assert "banned by WhatsApp until" in str(answer(world, command))
    assert (world.session.state, world.open) == (State.BANNED, ())


def test_a_ban_goes_on_though_the_session_was_closed_meanwhile() -> None:
    world = connected()
    world.client_says(partial(protocol.Banned, seconds=3600))
    world.hosts_end_clients()
    world.command(Verb.FORCE_CLOSE)
    assert world.session.state is State.FORCE_CLOSED
    command = world.command(Verb.RESTART)
    assert "banned by WhatsApp until" in str(answer(world, command))
    world.kill_worker()
    assert (world.session.state, world.open) == (State.BANNED, ())
    world.wait(HOUR)
    assert world.session.state is State.CONNECTING


def test_what_an_earlier_login_said_is_late() -> None:
    world = connected()
    world.host_loses_client()
    world.wait(2 * SECOND)
    world.late_words(CONNECTED)
    world.late_words(REPLACED)
    assert world.session.state is State.CONNECTING


def test_replaced_is_heard_though_the_end_before_it_seemed_not_to_be_written() -> None:
    world = connected()
    world.fates.append(Fate.SEEMS_TO_FAIL)
    world.client_says(protocol.StoreFailed)
    world.client_says(REPLACED)
    world.hosts_end_clients()
    world.find_store()
    assert (world.session.state, world.open) == (State.REPLACED, ())


def test_replaced_is_heard_though_the_store_seemed_not_to_have_come_back() -> None:
    world = connected()
    world.lose_store()
    world.fates.append(Fate.SEEMS_TO_FAIL)
    world.find_store()
    world.client_says(REPLACED)
    world.hosts_end_clients()
    world.find_store()
    assert (world.session.state, world.open) == (State.REPLACED, ())


def test_replaced_is_heard_while_the_login_is_closed_for_another_reason() -> None:
    world = connected()
    world.client_says(MoveAsked)
    world.client_says(REPLACED)
    world.hosts_end_clients()
    assert (world.session.state, world.open) == (State.REPLACED, ())


def test_a_move_sets_no_status_and_resets_no_counter() -> None:
    world = connected()
    fails(world, "3EB0A1")
    before = len(world.store.log)
    world.client_says(MoveAsked)
    world.hosts_end_clients()
    world.client_says(CONNECTED)
    assert (world.session.state, world.session.health.bad_mac) == (State.CONNECTED, 1)
    assert [type(record) for record in world.store.log[before:]] == [Note]


def test_a_move_that_stumbles_says_so_and_leaves_no_status_behind() -> None:
    world = connected()
    world.client_says(MoveAsked)
    world.hosts_end_clients()
    for said in (protocol.Disconnected, CONNECTED):
        world.client_says(said)
    assert (world.session.state, world.store.status) == (State.CONNECTED, Status.CONNECTED)


def test_a_move_that_meets_a_blinking_database_leaves_no_status_behind() -> None:
    world = connected()
    world.client_says(MoveAsked)
    world.hosts_end_clients()
    world.fates.extend([Fate.SEEMS_TO_FAIL] * 2)
    world.client_says(partial(protocol.ConnectFailed, in_store=True, error="x"))
    world.find_store()
    world.behave()
    assert (world.session.state, world.store.status) == (State.CONNECTED, Status.CONNECTED)


# ------------------------------------------------------------------------------------------------------ pairing


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


# ------------------------------------------------------------------------------------------- errors and closes


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


# ----------------------------------------------------------------------------------------------------- commands


def test_a_forced_close_closes_clears_the_counters_and_stays_down() -> None:
    world = connected()
    fails(world, "3EB0A1")
    command = world.command(Verb.FORCE_CLOSE)
    assert world.store.answers[command] == 0
    world.hosts_end_clients()
    assert world.store.answers[command] == 1
    assert (world.session.state, world.session.detail) == (State.FORCE_CLOSED, "maintenance")
    assert world.session.health.bad_mac == 0
    world.wait(24 * HOUR)
    assert world.open == ()


def test_a_forced_close_during_a_blink_stays_down() -> None:
    world = connected()
    world.lose_store()
    command = world.command(Verb.FORCE_CLOSE)
    world.hosts_end_clients()
    world.find_store()
    world.behave()
    assert world.store.answers[command] == 1
    assert (world.session.state, len(world.logins)) == (State.FORCE_CLOSED, 1)


def test_keys_are_cleaned_without_a_socket_and_counters_stay() -> None:
    world = connected()
    fails(world, "3EB0A1")
    command = world.command(Verb.CLEAN)
    world.hosts_end_clients()
    assert (world.store.answers[command], world.session.returning) == (1, Return.REPAIR)
    world.client_says(CONNECTED)
    assert (world.session.state, world.session.health.bad_mac) == (State.CONNECTED, 1)


def test_a_cleaned_session_that_was_down_stays_down() -> None:
    world = connected()
    world.client_says(REPLACED)
    world.hosts_end_clients()
    command = world.command(Verb.CLEAN)
    assert (world.store.answers[command], world.session.state) == (1, State.REPLACED)


def test_keys_are_cleaned_at_once_though_codes_are_shown() -> None:
    world = pairing()
    command = world.command(Verb.CLEAN)
    world.hosts_end_clients()
    assert world.store.answers[command] == 1
    assert (world.session.state, world.open) == (State.PAIRING, (2,))


def test_a_restart_closes_and_connects_again() -> None:
    world = connected()
    command = world.command(Verb.RESTART)
    world.hosts_end_clients()
    assert answer(world, command) == {"pairing": False}
    assert (world.session.state, world.open) == (State.CONNECTING, (2,))


def test_a_relink_of_a_phone_with_keys_is_refused_and_disturbs_nothing() -> None:
    world = connected()
    command = world.command(Verb.RELINK)
    assert isinstance(answer(world, command), UsageError)
    assert (world.session.state, world.open) == (State.CONNECTED, (1,))
    assert not world.session.ending


def test_a_restore_is_checked_before_the_socket_closes() -> None:
    world = connected()
    world.store.refuses_restores = True
    command = world.command(Verb.RESTORE)
    assert world.store.answers[command] == 1
    assert (world.session.state, world.session.ending) == (State.CONNECTED, False)
    world.store.refuses_restores = False
    command = world.command(Verb.RESTORE)
    assert happened(world, RestoreKeys) == []
    world.hosts_end_clients()
    assert world.store.answers[command] == 1
    assert (world.session.state, world.session.returning) == (State.CONNECTING, Return.REPAIR)


def test_a_restore_brings_a_logged_out_phone_back_even_if_the_database_could_not_say_so() -> None:
    world = connected()
    world.client_says(partial(protocol.LoggedOut, reason="LOGGED_OUT"))
    world.hosts_end_clients()
    world.fates.extend([Fate.STANDS, Fate.SEEMS_TO_FAIL])
    command = world.command(Verb.RESTORE)
    world.behave()
    assert (world.store.answers[command], world.session.state) == (1, State.CONNECTED)


def test_a_restore_does_not_cut_a_ban_short() -> None:
    world = connected()
    world.client_says(partial(protocol.Banned, seconds=3600))
    world.hosts_end_clients()
    command = world.command(Verb.RESTORE)
    assert (world.store.answers[command], world.session.state, world.open) == (1, State.BANNED, ())


def test_a_text_is_sent_while_connected_and_answered() -> None:
    world = connected()
    command = world.command(Verb.SEND)
    assert world.store.answers[command] == 0
    world.whatsapp_answers()
    assert answer(world, command) == {"message_id": "3EB0"}


def test_a_text_is_refused_while_not_connected() -> None:
    world = World().start()
    assert "is not connected (connecting)" in str(answer(world, world.command(Verb.SEND)))


def test_a_text_whose_client_is_lost_is_answered() -> None:
    world = connected()
    command = world.command(Verb.SEND)
    world.host_loses_client()
    assert "before it answered" in str(answer(world, command))


def test_a_text_that_was_sent_while_the_database_was_away_is_told_as_sent() -> None:
    world = connected()
    command = world.command(Verb.SEND)
    world.lose_store()
    world.whatsapp_answers()
    world.hosts_end_clients()
    world.find_store()
    assert answer(world, command) == {"message_id": "3EB0"}


def test_an_unknown_command_is_refused() -> None:
    world = connected()
    assert "does not know 'dance'" in str(answer(world, world.command("dance")))


def test_commands_wait_for_one_another() -> None:
    world = connected()
    first, second, third = (world.command(verb) for verb in (Verb.CLEAN, Verb.FORCE_CLOSE, Verb.RESTART))
    world.hosts_end_clients()
    assert [world.store.answers[number] for number in (first, second, third)] == [1, 1, 1]
    assert world.session.state is State.CONNECTING


def test_a_released_phone_is_closed_and_written_down_before_it_is_given_away() -> None:
    world = connected()
    command = world.command(Verb.RELEASE)
    assert happened(world, ReleaseLease) == []
    world.hosts_end_clients()
    assert (world.session.finished, world.store.answers[command]) == (True, 1)
    assert (world.session.state, world.store.status) == (State.STOPPED, Status.DISCONNECTED)


# ----------------------------------------------------------------------------------------- the worker around it


def test_a_shutdown_closes_and_says_so() -> None:
    world = connected()
    world.take(Shutdown())
    assert not world.session.finished
    world.hosts_end_clients()
    assert world.session.finished
    assert (world.session.state, world.store.status) == (State.STOPPED, Status.DISCONNECTED)


def test_a_shutdown_keeps_the_reason_of_what_is_down() -> None:
    world = connected()
    world.client_says(REPLACED)
    world.hosts_end_clients()
    world.take(Shutdown())
    assert (world.session.finished, world.session.state) == (True, State.REPLACED)


def test_a_shutdown_ends_a_pairing_and_forgets_a_wrong_device() -> None:
    world = pairing()
    world.client_says(ANOTHER_PHONE)
    world.take(Shutdown())
    world.hosts_end_clients()
    assert (world.session.finished, world.session.state) == (True, State.STOPPED)
    assert not world.store.wrong_devices


@pytest.mark.parametrize("fate", [Fate.FAILS, Fate.SEEMS_TO_FAIL])
def test_what_is_asked_before_the_beginning_could_be_written_comes_after_it(fate: Fate) -> None:
    """A session that was closed in between connected again, as its worker's beginning was taken up later."""
    world = connected()
    world.fates.append(fate)
    world.kill_worker()
    command = world.command(Verb.FORCE_CLOSE)
    assert world.session.store_away
    world.find_store()
    world.hosts_end_clients()
    assert (world.session.state, world.session.client) == (State.FORCE_CLOSED, None)
    assert world.store.answers[command] == 1


def test_a_shutdown_lets_the_command_in_hand_end_but_connects_no_more() -> None:
    world = connected()
    close, restart = world.command(Verb.FORCE_CLOSE), world.command(Verb.RESTART)
    world.take(Shutdown())
    world.hosts_end_clients()
    assert (world.session.finished, world.session.state) == (True, State.FORCE_CLOSED)
    assert world.store.answers[close] == 1
    assert "the worker ends" in str(answer(world, restart))


def test_a_shutdown_without_the_database_finishes_and_answers_later() -> None:
    world = connected()
    command = world.command(Verb.SEND)
    world.lose_store()
    world.take(Shutdown())
    world.hosts_end_clients()
    assert world.session.finished
    assert any(isinstance(call, LogLine) and call.event == "not_written" for call in world.moments[-1].effects.calls)
    assert world.store.answers[command] == 1


def test_a_lost_lease_drops_the_client_and_writes_nothing() -> None:
    world = connected()
    before = len(world.store.log)
    world.take(LeaseLost("taken by another worker"))
    assert world.session.finished
    assert len(world.store.log) == before


def test_a_lost_store_closes_the_socket_and_comes_back() -> None:
    world = connected()
    world.lose_store()
    assert world.session.ending
    world.hosts_end_clients()
    assert world.open == ()
    world.wait(HOUR)
    assert world.open == ()
    world.find_store()
    assert world.session.state is State.CONNECTING
    assert noted(world)[-2:] == ["store_lost", "store_back"]


def test_a_session_whose_own_writes_fail_says_why_once_and_comes_back_with_growing_pauses() -> None:
    world = connected()
    before, write = len(world.store.log), world.store.write

    def refuse(event: Event, after: Session, records: Iterable[Record]) -> list[Event]:
        """As a trigger of the backend's on its own table does."""
        if any(isinstance(record, SetStatus) for record in records):
            raise StoreAway
        return write(event, after, records)

    world.store.write = refuse  # type: ignore[method-assign]
    world.client_says(protocol.Disconnected)
    world.find_store()
    world.wait(600 * SECOND)
    returns = [moment for moment in world.moments if moment.before.store_away and not moment.after.store_away]
    assert 20 < len(returns) < 40
    said = [call.message for moment in world.moments for call in moment.asked(LogLine) if isinstance(call, LogLine)]
    assert ["refused" in message for message in said] == [True]
    entries = [record for record in world.store.log[before:] if isinstance(record, Note)]
    assert [note.detail for note in entries] == [events.StoreLost(reason="refused")]
    world.store.write = write  # type: ignore[method-assign]
    world.behave()
    assert noted(world)[-3:] == ["connected", "store_lost", "store_back"]
    notes = [record.detail for record in world.store.log if isinstance(record, Note)]
    lost = [detail for detail in notes if isinstance(detail, events.StoreLost)][-1]
    assert lost.reason == "refused"
    assert (lost.down_seconds or 0) >= 600


def test_another_reason_is_said_too() -> None:
    world = connected()
    for reason in ("a", "a", "b"):
        world.take(StoreLost(reason))
        world.take(StoreBack())
        world.wait(40 * SECOND)
    said = [call.message for moment in world.moments for call in moment.asked(LogLine) if isinstance(call, LogLine)]
    assert [message[:1] for message in said] == ["a", "b"]


def test_an_outage_that_everybody_meets_is_told_by_the_worker_and_waits_for_no_pause() -> None:
    world = connected()
    for _ in range(5):
        world.take(StoreLost("connection refused"))
        world.lose_store()
        world.find_store()
        assert not world.session.store_away
    assert not [call for moment in world.moments for call in moment.asked(LogLine)]
    assert noted(world).count("store_back") == 5


def test_what_one_phone_met_alone_is_over_after_a_minute_though_it_does_not_connect() -> None:
    world = connected()
    world.client_says(REPLACED)
    world.hosts_end_clients()
    world.take(StoreLost("a"))
    world.take(StoreBack())
    assert noted(world)[-1] == "store_lost"
    world.wait(3 * 60 * SECOND)
    assert noted(world)[-2:] == ["store_lost", "store_back"]


@pytest.mark.parametrize("back", [timedelta(minutes=2), HOUR, 24 * HOUR])
def test_a_clock_that_steps_back_makes_no_pause_longer_than_it_was_meant_to_be(back: timedelta) -> None:
    def unreachable() -> World:
        world = connected()
        world.client_says(partial(protocol.ConnectFailed, in_store=False, error="x"))
        world.hosts_end_clients()
        return world

    def refused() -> World:
        world = connected()
        for _ in range(4):
            world.take(StoreLost("refused"))
        return world

    def silent() -> World:
        return World().start()

    for begin, longest in ((unreachable, 62), (refused, 62), (silent, 91), (pairing, 600)):
        world = begin()
        world.now -= back
        left = seconds_to_look(world.session, world.now)
        assert left is not None
        assert left <= 60
        before, state, away = world.now, world.session.state, world.session.store_away
        world.take(TimeOver())  # which the task tells after ``left`` at the latest
        while (world.session.state, world.session.store_away) == (state, away):
            world.wait_for_next_look()
            assert world.now - before <= longest * SECOND


def test_a_ban_is_no_pause_that_a_clock_could_make_too_long() -> None:
    until = START + 1000 * HOUR
    session = Session(NUMBER, Settings(Limits()), state=State.BANNED, retry_at=until, looked_at=START)
    assert capped(session, START - 24 * HOUR).retry_at == until


def test_a_pairing_that_is_cut_short_goes_on_in_the_same_window() -> None:
    world = pairing()
    until = world.session.retry_at
    world.lose_store()
    world.hosts_end_clients()
    world.wait(SECOND)
    world.find_store()
    assert (world.session.state, world.session.retry_at, world.open) == (State.PAIRING, until, (2,))


def test_replaced_while_the_database_is_away_stays_down() -> None:
    world = connected()
    world.lose_store()
    world.client_says(REPLACED)
    world.hosts_end_clients()
    world.find_store()
    assert (world.session.state, world.open, world.store.status) == (State.REPLACED, (), Status.DISCONNECTED)


def test_a_store_that_is_lost_changes_nothing_of_what_is_down() -> None:
    world = connected()
    world.client_says(REPLACED)
    world.hosts_end_clients()
    world.lose_store()
    world.find_store()
    assert (world.session.state, world.open) == (State.REPLACED, ())


def test_a_deadlock_closes_no_socket() -> None:
    world = connected()
    world.fates.extend([Fate.DEADLOCKS] * 3)
    world.client_says(protocol.PingUnanswered)
    assert (world.session.state, world.open, world.session.ending) == (State.NO_ANSWER, (1,), False)


def test_after_a_fault_the_login_is_begun_anew_and_counters_stay() -> None:
    world = connected()
    fails(world, "3EB0A1")
    send = world.command(Verb.SEND)
    world.fates.append(Fate.FAULTS)
    world.client_says(protocol.Disconnected)
    assert world.session.ending
    world.behave()
    assert (world.session.state, world.session.health.bad_mac) == (State.CONNECTED, 1)
    assert world.store.answers[send] == 1


def test_a_fault_over_the_end_of_a_client_leaves_no_ghost() -> None:
    world = connected(Limits(bad_mac=1))
    fails(world, "3EB0A1")
    world.fates.append(Fate.FAULTS)
    world.hosts_end_clients()
    assert (world.session.state, world.open) == (State.PAIRING, (2,))
    assert happened(world, CloseAtLimit) == ["CloseAtLimit"]


@pytest.mark.parametrize("fate", [Fate.FAULTS, Fate.FAILS, Fate.SEEMS_TO_FAIL])
def test_a_first_commit_that_goes_wrong_leaves_a_way_on(fate: Fate) -> None:
    world = World()
    world.fates.append(fate)
    world.start()
    world.behave()
    assert world.session.state is State.CONNECTED


def test_a_fault_over_a_command_answers_it() -> None:
    world = connected()
    world.client_says(REPLACED)
    world.hosts_end_clients()
    world.fates.append(Fate.FAULTS)
    command = world.command(Verb.FORCE_CLOSE)
    assert (world.store.answers[command], world.session.state) == (1, State.REPLACED)


def test_a_fault_over_a_shutdown_does_not_undo_it() -> None:
    world = connected()
    world.client_says(REPLACED)
    world.hosts_end_clients()
    world.fates.append(Fate.FAULTS)
    world.take(Shutdown())
    assert world.session.finished


def test_a_row_of_an_older_version_that_was_closing_is_closed_and_pairs() -> None:
    row = HealthRow(1, 1, 3, 0, (), START, "bad_mac", 0, 0, UnknownWord("closing"), None, START, None, "bad_mac")
    session = mapping.with_stored(Session(NUMBER, Settings(Limits(), origin="w")), row, [])
    after, effects = step(session, Resumed(), START)
    assert after.state is State.PAIRING
    assert isinstance(effects.records[0], CloseAtLimit)
