"""The life of a session, told in examples: the worker around it."""

from collections.abc import Iterable
from datetime import timedelta
from functools import partial

import pytest
from strategies.lives import (
    ANOTHER_PHONE,
    HOUR,
    REPLACED,
    answer,
    connected,
    fails,
    happened,
    noted,
    pairing,
)
from strategies.world import (
    NUMBER,
    SECOND,
    START,
    Fate,
    StoreAway,
    World,
)

from wa_sessions.db.health import HealthRow
from wa_sessions.health.backend_words import UnknownWord
from wa_sessions.health.events import connection as events
from wa_sessions.health.model import Limits
from wa_sessions.health.reconnect import State, Status
from wa_sessions.worker import mapping
from wa_sessions.worker.clock_steps import capped
from wa_sessions.worker.effects import (
    CloseAtLimit,
    LogLine,
    Note,
    Record,
    SetStatus,
)
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.machine import seconds_to_look, step
from wa_sessions.worker.session import (
    Event,
    LeaseLost,
    Resumed,
    Session,
    Settings,
    Shutdown,
    StoreBack,
    StoreLost,
    TimeOver,
    Verb,
)


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
