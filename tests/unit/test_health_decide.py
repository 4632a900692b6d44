"""The health policy, case by case."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from strategies.health import DAY, GROUP, SECOND, START, Sent, Step, lived

from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.health.model import (
    Closed,
    CloseSession,
    CollectionFailed,
    CollectionSynced,
    Connected,
    ErrorKind,
    Health,
    HealthEvent,
    LeaveStore,
    Limits,
    MessageDecrypted,
    MessageFailed,
    MessageGivenUp,
    Outcome,
    QuarantineCollection,
    QuarantineSenderKey,
    QuarantineSession,
    RecordEnd,
    RecordError,
    RecordPending,
    RecordReset,
    TimePassed,
)

LIMITS = Limits()
DIRECT = Sent("3EB001", "1001:1@lid", "1001@lid")
IN_GROUP = Sent("3EB002", "1001:1@lid", GROUP)


def _from(number: int) -> Sent:
    return Sent(f"3EB1{number:04}", f"{3000 + number}:1@lid", f"{3000 + number}@lid")


def _lost(sent: Sent) -> list[HealthEvent]:
    return [*[sent.fails()] * 5, MessageGivenUp(START, sent.message_id)]


def _after(*events: HealthEvent, limits: Limits = LIMITS) -> Step:
    return lived(events, limits)[-1]


def _asked(steps: list[Step], kind: type) -> list[Any]:
    return [action for step in steps for action in step.asked(kind)]


def _errors(*events: HealthEvent, limits: Limits = LIMITS) -> tuple[int, int]:
    health = _after(*events, limits=limits).after
    return health.bad_mac, health.bad_decrypt


# ------------------------------------------------------------------------------------------------- messages


def test_the_first_copy_is_pending_and_no_error() -> None:
    step = _after(DIRECT.fails(session_mark="base-1"))
    (message,) = step.after.pending
    assert step.actions == (RecordPending(message),)
    assert (message.message_id, message.sender, message.chat, message.session_mark, message.copies) == (
        "3EB001",
        "1001:1@lid",
        "1001@lid",
        "base-1",
        1,
    )
    assert _errors(DIRECT.fails()) == (0, 0)


def test_a_retry_that_decrypts_recovers_the_message_and_touches_no_key() -> None:
    step = _after(DIRECT.fails(), DIRECT.decrypts(START + SECOND))
    (end,) = step.actions
    assert isinstance(end, RecordEnd)
    assert (end.message.outcome, end.message.ended_at) == (Outcome.RECOVERED, START + SECOND)
    assert (step.after.recovered, step.after.lost, step.after.pending) == (1, 0, ())


def test_a_retry_that_fails_too_is_one_error_and_quarantines_the_session_as_it_was_at_the_first_failure() -> None:
    step = _after(DIRECT.fails(session_mark="base-1"), DIRECT.fails(START + SECOND, session_mark="base-2"))
    assert step.actions == (
        RecordError(ErrorKind.BAD_MAC, 1, 3, message_id="3EB001", sender="1001:1@lid"),
        QuarantineSession("1001:1@lid", "base-1", "3EB001"),
    )
    assert (step.after.last_error_at, step.after.last_error_kind) == (START + SECOND, ErrorKind.BAD_MAC)


def test_in_a_group_the_sender_key_is_quarantined() -> None:
    first, again = (
        IN_GROUP.fails(encryption=kind, session_mark="chain-1")
        for kind in (Encryption.SENDER_KEY_MESSAGE, Encryption.PREKEY_MESSAGE)
    )
    assert _after(first, again).actions[1] == QuarantineSenderKey(GROUP, "1001:1@lid", "chain-1", "3EB002")


def test_however_many_copies_fail_it_is_one_error() -> None:
    steps = lived([DIRECT.fails()] * 5, LIMITS)
    assert len(_asked(steps, RecordError)) == 1
    assert steps[-1].after.bad_mac == 1
    assert steps[-1].after.messages["3EB001"].copies == 5


def test_a_message_given_up_is_lost() -> None:
    step = _after(*_lost(DIRECT))
    assert [end.message.outcome for end in step.asked(RecordEnd)] == [Outcome.LOST]
    assert (step.after.recovered, step.after.lost, step.after.pending) == (0, 1, ())


def test_a_lost_message_that_decrypts_after_all_is_recovered() -> None:
    health = _after(*_lost(DIRECT), DIRECT.decrypts()).after
    assert (health.recovered, health.lost) == (1, 0)


def test_a_recovered_message_is_not_lost_later() -> None:
    step = _after(DIRECT.fails(), DIRECT.decrypts(), MessageGivenUp(START, "3EB001"))
    assert step.actions == ()
    assert (step.after.recovered, step.after.lost) == (1, 0)


@pytest.mark.parametrize("ending", [DIRECT.decrypts(), MessageGivenUp(START, "3EB001")])
def test_a_message_that_has_ended_is_not_counted(ending: HealthEvent) -> None:
    assert _errors(DIRECT.fails(), ending, DIRECT.fails(), DIRECT.fails()) == (0, 0)


@pytest.mark.parametrize(
    "event", [MessageDecrypted(START, "3EB0FF", "9@lid", "9@lid"), MessageGivenUp(START, "3EB0FF")]
)
def test_a_message_that_never_failed_has_no_end(event: HealthEvent) -> None:
    step = _after(event)
    assert (step.after, step.actions) == (Health(), ())


@pytest.mark.parametrize(
    ("connection", "encryption", "counted"),
    [
        ("c1", Encryption.MESSAGE, 1),
        ("c1", Encryption.PREKEY_MESSAGE, 1),
        ("c2", Encryption.PREKEY_MESSAGE, 0),
        ("c2", Encryption.MESSAGE, 0),
        ("c2", Encryption.UNKNOWN, 0),
    ],
)
def test_a_retried_copy_is_told_from_the_same_copy_delivered_again(
    connection: str, encryption: Encryption, counted: int
) -> None:
    again = DIRECT.fails(connection=connection, encryption=encryption)
    assert _errors(DIRECT.fails(connection="c1"), again) == (counted, 0)


def test_a_copy_delivered_again_is_counted_once_its_retry_fails_on_the_new_connection() -> None:
    first, *again = (DIRECT.fails(connection=connection) for connection in ("c1", "c2", "c2"))
    assert _errors(first, *again) == (1, 0)


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.BAD_MAC])
def test_a_copy_that_failed_for_another_reason_is_not_the_first_of_two(cause: Cause) -> None:
    other, first = DIRECT.fails(cause=cause, session_mark="base-1"), DIRECT.fails(session_mark="base-2")
    assert _errors(other, first) == (0, 0)
    assert _errors(first, other) == (0, 0)
    assert _after(other, first, first).actions[1] == QuarantineSession("1001:1@lid", "base-2", "3EB001")


def test_a_session_that_worked_since_is_left_alone() -> None:
    later = replace(DIRECT, message_id="3EB009")
    step = _after(DIRECT.fails(), later.decrypts(), DIRECT.fails())
    assert step.actions == (RecordError(ErrorKind.BAD_MAC, 1, 3, message_id="3EB001", sender="1001:1@lid"),)


def test_a_session_that_worked_only_before_the_failure_is_quarantined() -> None:
    earlier = replace(DIRECT, message_id="3EB009")
    assert _after(earlier.decrypts(), DIRECT.fails(), DIRECT.fails()).asked(QuarantineSession)


@pytest.mark.parametrize("other", [replace(IN_GROUP, message_id="3EB009"), _from(1)])
def test_another_chat_or_sender_proves_nothing(other: Sent) -> None:
    assert _after(DIRECT.fails(), other.decrypts(), DIRECT.fails()).asked(QuarantineSession)


def test_where_there_was_no_session_there_is_nothing_to_quarantine() -> None:
    step = _after(DIRECT.fails(session_mark=None), DIRECT.fails(session_mark="base-2"))
    assert [type(action) for action in step.actions] == [RecordError]


# ------------------------------------------------------------------------------------------------ app state


def test_a_damaged_collection_is_one_error_and_syncs_anew() -> None:
    step = _after(CollectionFailed(START, "regular_high", Cause.BAD_DECRYPT))
    assert step.actions == (
        RecordError(ErrorKind.BAD_DECRYPT, 1, 5, collection="regular_high"),
        QuarantineCollection("regular_high"),
    )


def test_the_fifth_damaged_collection_in_a_row_closes() -> None:
    steps = lived([CollectionFailed(START, "regular_high", Cause.BAD_DECRYPT)] * 5, LIMITS)
    assert [bool(step.asked(CloseSession)) for step in steps] == [False, False, False, False, True]
    assert not steps[-1].asked(QuarantineCollection)


def test_a_collection_that_syncs_resets_bad_decrypt_alone() -> None:
    damaged = CollectionFailed(START, "regular_high", Cause.BAD_DECRYPT)
    step = _after(DIRECT.fails(), DIRECT.fails(), damaged, CollectionSynced(START, "critical_block"))
    assert step.actions == (RecordReset(ErrorKind.BAD_DECRYPT),)
    assert (step.after.bad_mac, step.after.bad_decrypt) == (1, 0)


def test_a_message_that_decrypts_resets_bad_mac_alone() -> None:
    damaged = CollectionFailed(START, "regular_high", Cause.BAD_DECRYPT)
    step = _after(DIRECT.fails(), DIRECT.fails(), damaged, _from(1).decrypts())
    assert step.actions == (RecordReset(ErrorKind.BAD_MAC),)
    assert (step.after.bad_mac, step.after.bad_decrypt) == (0, 1)


# ------------------------------------------------------------------------------------------------ the limits


def test_three_messages_lost_in_every_copy_close_once() -> None:
    steps = lived([event for number in range(5) for event in _lost(_from(number))], LIMITS)
    assert _asked(steps, CloseSession) == [CloseSession(ErrorKind.BAD_MAC)]
    (closing,) = [step for step in steps if step.asked(CloseSession)]
    assert isinstance(closing.event, MessageGivenUp | MessageFailed)
    assert closing.event.message_id == _from(2).message_id
    assert closing.actions == (
        RecordError(ErrorKind.BAD_MAC, 3, 3, message_id=_from(2).message_id, sender=_from(2).sender),
        CloseSession(ErrorKind.BAD_MAC),
    )
    assert steps[-1].after.bad_mac == 3


def test_after_a_close_counting_begins_anew() -> None:
    lost = [event for number in range(3) for event in _lost(_from(number))]
    more = [event for number in range(3, 6) for event in _lost(_from(number))]
    steps = lived([*lost, Closed(START), *more], LIMITS)
    assert len(_asked(steps, CloseSession)) == 2
    assert [error.count for error in _asked(steps, RecordError)] == [1, 2, 3, 1, 2, 3]


def test_a_close_loses_what_was_pending() -> None:
    step = _after(DIRECT.fails(), Closed(START + SECOND))
    assert [end.message.outcome for end in step.asked(RecordEnd)] == [Outcome.LOST]
    assert (step.after.lost, step.after.pending) == (1, ())


def test_two_hundred_damaged_messages_that_heal_close_nothing_and_take_no_key() -> None:
    healed = [event for number in range(200) for event in (_from(number).fails(), _from(number).decrypts())]
    steps = lived(healed, LIMITS)
    assert {type(action) for step in steps for action in step.actions} == {RecordPending, RecordEnd}
    assert steps[-1].after.recovered == 200


def test_senders_who_went_offline_are_pending_for_a_day_and_count_nothing() -> None:
    failed = [_from(number).fails() for number in range(3)]
    almost, over = TimePassed(START + DAY - SECOND), TimePassed(START + DAY)
    assert len(_after(*failed, almost).after.pending) == 3
    step = _after(*failed, almost, over)
    assert (step.after.lost, step.after.pending) == (3, ())
    assert _errors(*failed, almost, over) == (0, 0)


def test_an_ended_message_is_remembered_for_a_day() -> None:
    ended = START + timedelta(hours=1)
    history = DIRECT.fails(), MessageGivenUp(ended, "3EB001")
    assert "3EB001" in _after(*history, TimePassed(ended + DAY - SECOND)).after.messages
    assert "3EB001" not in _after(*history, TimePassed(ended + DAY)).after.messages


def test_fifty_messages_while_the_database_is_away_only_leave_the_store() -> None:
    steps = lived([_from(number).fails(cause=Cause.STORE) for number in range(50)], LIMITS)
    assert all(step.asked(LeaveStore) for step in steps)
    assert not _asked(steps, RecordError)
    assert steps[-1].after.closing is None


def test_a_store_that_fails_a_collection_is_left() -> None:
    step = _after(CollectionFailed(START, "regular", Cause.STORE))
    assert (step.after, step.actions) == (Health(), (LeaveStore(),))


def test_a_successful_connection_resets_both_counters() -> None:
    damaged = CollectionFailed(START, "regular_high", Cause.BAD_DECRYPT)
    step = _after(DIRECT.fails(), DIRECT.fails(), damaged, Connected(START))
    assert step.actions == (RecordReset(ErrorKind.BAD_MAC), RecordReset(ErrorKind.BAD_DECRYPT))
    assert (step.after.bad_mac, step.after.bad_decrypt) == (0, 0)


def test_the_reconnect_of_a_repair_resets_nothing() -> None:
    lost = [event for number in range(3) for event in [*_lost(_from(number)), Connected(START, for_repair=True)]]
    assert _asked(lived(lost, LIMITS), CloseSession)


def test_a_connection_while_closing_does_not_hide_the_limit() -> None:
    step = _after(*[event for number in range(3) for event in _lost(_from(number))], Connected(START))
    assert (step.after.bad_mac, step.after.closing) == (3, ErrorKind.BAD_MAC)


def test_one_stranger_closes_an_account_only_in_the_scope_of_accounts() -> None:
    stranger = [Sent(f"3EB2{number}", f"666:{number}@lid", "666@lid") for number in range(4)]
    garbage = [event for message in stranger for event in _lost(message)]
    assert _asked(lived(garbage, Limits(scope="account")), CloseSession)
    assert not _asked(lived(garbage, Limits(scope="sender")), CloseSession)
    assert _errors(*garbage, limits=Limits(scope="sender")) == (1, 0)


def test_three_strangers_close_an_account_in_the_scope_of_senders() -> None:
    garbage = [event for number in range(3) for event in _lost(_from(number))]
    assert _asked(lived(garbage, Limits(scope="sender")), CloseSession)


def test_a_sender_counted_before_a_reset_counts_again() -> None:
    again = replace(DIRECT, message_id="3EB009")
    history: list[MessageFailed | Connected] = [*[DIRECT.fails()] * 2, Connected(START), *[again.fails()] * 2]
    assert _errors(*history, limits=Limits(scope="sender")) == (1, 0)
