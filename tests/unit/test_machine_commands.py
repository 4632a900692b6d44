"""The life of a session, told in examples: what operators ask of it."""

from functools import partial

from strategies.lives import CONNECTED, HOUR, REPLACED, answer, connected, fails, happened, pairing
from strategies.world import (
    Fate,
    World,
)

from wa_sessions.errors import UsageError
from wa_sessions.health.reconnect import State, Status
from wa_sessions.worker.effects import (
    ReleaseLease,
    RestoreKeys,
)
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.session import (
    Return,
    Verb,
)


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
