"""The life of a session, told in examples: how it connects."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from strategies.lives import CONNECTED, HOUR, REPLACED, answer, connected, fails, happened
from strategies.world import (
    DEVICE,
    SECOND,
    Fate,
    World,
)

from wa_sessions.health.events import connection as events
from wa_sessions.health.reconnect import State, Status
from wa_sessions.worker.effects import (
    FindDevice,
    Note,
    OpenClient,
    SetStatus,
)
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.ports import MoveAsked
from wa_sessions.worker.session import (
    Verb,
)


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
