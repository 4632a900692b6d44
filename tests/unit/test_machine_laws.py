"""The laws of a session's life, tried on generated histories with commits that fail; all laws share them."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from strategies.session import History, histories
from strategies.world import DOWN, Moment, World
from support.examples import shared

from wa_sessions.health.model import RecordError
from wa_sessions.health.reconnect import State, Status
from wa_sessions.worker.effects import (
    CleanKeys,
    CloseAtLimit,
    ForceClose,
    ForgetDevice,
    OpenClient,
    ReleaseLease,
    RestoreKeys,
    ShowQr,
)
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.machine import next_look
from wa_sessions.worker.ports import ClientLost
from wa_sessions.worker.session import PAUSED, ClientOpened, Return, Shutdown, TimeOver

AT_REST_ONLY = CloseAtLimit | ForceClose | CleanKeys | RestoreKeys | ForgetDevice
STATUS = {
    State.CONNECTED: {Status.CONNECTED},
    State.PAIRING: {Status.PENDING},
    State.PAIRING_EXPIRED: {Status.LOGGED_OUT},
    State.LOGGED_OUT: {Status.LOGGED_OUT},
    State.REPLACED: {Status.DISCONNECTED, Status.LOGGED_OUT},
    State.OUTDATED: {Status.DISCONNECTED, Status.LOGGED_OUT},
    State.LOGIN_REFUSED: {Status.DISCONNECTED, Status.LOGGED_OUT},
    State.BANNED: {Status.DISCONNECTED, Status.LOGGED_OUT},
    State.FORCE_CLOSED: {Status.DISCONNECTED, Status.LOGGED_OUT},
}

Law = Callable[[History], None]
LAWS: list[Law] = []


@cache
def lives() -> list[History]:
    return shared(histories, 500, lambda history: len(history.moves))


def law(check: Law) -> Callable[[], None]:
    """A test that tries it on all lives, the shortest first: what breaks a law is told as short as it was found."""

    def tried() -> None:
        for history in lives():
            try:
                check(history)
            except BaseException as error:
                error.add_note(f"in the life {history}")
                raise

    LAWS.append(check)
    tried.__name__ = check.__name__
    return tried


def opened(world: World) -> list[Moment]:
    return [moment for moment in world.moments if moment.asked(OpenClient) and moment.stands]


@law
def test_a_client_is_opened_only_where_none_is_open_and_one_may_be(history: History) -> None:
    for moment in opened(history.ended):
        assert not moment.open_before
        assert len(moment.asked(OpenClient)) == 1
        after = moment.after
        assert not any((after.store_away, after.stopping, after.finished, after.health.closing))


@law
def test_nothing_connects_again_that_is_to_stay_down_unless_somebody_asks(history: History) -> None:
    for moment in opened(history.ended):
        assert moment.barred is None


@law
def test_keys_are_touched_only_while_no_client_is_open(history: History) -> None:
    for moment in history.ended.moments:
        gone = isinstance(moment.event, protocol.Stopped | ClientLost)
        if moment.kept:
            continue
        if moment.recorded(AT_REST_ONLY) or moment.asked(ReleaseLease):
            assert not moment.open_before or (gone and moment.open_before == (getattr(moment.event, "client", None),))


@law
def test_every_command_is_answered_exactly_once(history: History) -> None:
    world = history.at_rest
    assert all(world.store.answers[number] == 1 for number in world.commands if number not in world.forgotten)
    assert all(count == 1 for count in world.store.answers.values())


@law
def test_what_an_event_brings_is_written_once(history: History) -> None:
    assert set(Counter(map(id, history.ended.store.writes)).values()) <= {1}


@law
def test_a_reached_limit_closes_once(history: History) -> None:
    world = history.at_rest
    due = 0
    for record in world.store.log:
        match record:
            case RecordError(count=count, limit=limit) if count >= limit:
                due += 1
            case ForceClose() if due:  # closes too, and clears the counters
                due -= 1
            case CloseAtLimit():
                due -= 1
            case _:
                pass
        assert due in (0, 1)
    assert due == 0 or world.session.finished


@law
def test_what_the_session_is_stands_in_the_database(history: History) -> None:
    world = history.ended
    assert world.session.store_away or world.session.stored == world.store.stored


@law
def test_the_fate_of_a_client_is_known_whether_it_can_be_written_or_not(history: History) -> None:
    told = protocol.Stopped | ClientLost | ClientOpened | Shutdown | TimeOver
    assert not [moment for moment in history.ended.moments if moment.kept and isinstance(moment.event, told)]


@law
def test_a_code_is_shown_once_it_is_written(history: History) -> None:
    for moment in history.ended.moments:
        assert not moment.asked(ShowQr) or moment.effects.records


@law
def test_a_move_and_a_repair_leave_counters_alone(history: History) -> None:
    for moment in history.ended.moments:
        if isinstance(moment.event, protocol.Connected) and moment.before.returning is not Return.LOGIN:
            assert moment.after.health == moment.before.health


@law
def test_when_all_do_what_is_theirs_the_session_comes_to_rest_and_its_row_says_so(history: History) -> None:
    world = history.at_rest
    session = world.session
    if not session.finished:
        assert world.store.status in STATUS[session.state]
        assert session.detail or session.state not in DOWN
        assert session.deadline is None or session.state is State.PAIRING
        assert not world.store.wrong_devices
        assert (world.store.qr_code is None) or session.state is State.PAIRING


@law
def test_after_a_shutdown_it_finishes(history: History) -> None:
    world = history.lived()
    world.take(Shutdown())
    world.behave(rounds=6)
    assert world.session.finished
    assert all(world.store.answers[number] == 1 for number in world.commands if number not in world.forgotten)


@law
def test_after_a_shutdown_it_finishes_without_the_store_too(history: History) -> None:
    world = history.lived()
    world.fates.clear()
    world.lose_store()
    world.take(Shutdown())
    world.wait(timedelta(seconds=40))
    assert world.session.finished


@law
def test_whatever_is_waited_for_is_waited_for_only_so_long(history: History) -> None:
    session = history.ended.session
    if session.finished or session.store_away or session.ending or session.asked:
        return
    if session.state in PAUSED and session.client is None:
        assert session.retry_at or session.state is State.BANNED
    elif session.state is State.PAIRING:
        assert session.retry_at
        assert session.deadline or session.client is None
    elif session.online and session.state is not State.CONNECTED:
        assert session.deadline
    else:
        assert session.client is not None or session.state in DOWN
    if session.deadline and session.online:
        look = next_look(session)
        assert look is not None
        assert look <= session.deadline


@pytest.mark.long
@settings(max_examples=50_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories)
def test_every_law_with_many_more_histories(history: History) -> None:
    for check in LAWS:
        check(history)
