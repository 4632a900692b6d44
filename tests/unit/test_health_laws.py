"""The laws of the health policy, tried on generated histories; all laws share them."""

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.health import COLLECTIONS, LIMITS, MESSAGES, START, Sent, histories, limits, lived
from strategies.ledger import Ledger, account, noted
from support.examples import examples, shared

from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.health.decide import decide
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

NEVER = timedelta(days=10_000)
COUNTED = (Cause.BAD_MAC, Cause.BAD_DECRYPT)
NOT_COUNTED = tuple(cause for cause in Cause if cause not in COUNTED)
RESETS = {ErrorKind.BAD_MAC: MessageDecrypted, ErrorKind.BAD_DECRYPT: CollectionSynced}

HISTORIES = 300
a_law = examples(80)
unforgetting = limits.map(lambda some: replace(some, give_up_after=NEVER))


@cache
def shared_histories() -> list[list[HealthEvent]]:
    return shared(histories, HISTORIES, len)


lives = st.deferred(lambda: st.sampled_from(shared_histories()))


@pytest.fixture(scope="module", autouse=True)
def _histories_are_made() -> None:
    """Before the first law begins, as hypothesis does not begin anew within a test."""
    shared_histories()


def _resets(event: HealthEvent, kind: ErrorKind) -> bool:
    return isinstance(event, Closed | RESETS[kind]) or (isinstance(event, Connected) and not event.for_repair)


def _counters(health: Health) -> tuple[int, int]:
    return health.bad_mac, health.bad_decrypt


def _known_as(health: Health) -> dict[str, tuple[object, ...]]:
    return {key: (m.copies, m.counted, m.outcome, m.ended_at) for key, m in health.messages.items()}


@examples(400)
@given(lives, limits)
def test_it_decides_as_the_ledger_does(history: list[HealthEvent], limits: Limits) -> None:
    ledger = Ledger(limits)
    for step in lived(history, limits):
        expected = Counter(ledger.enter(step.event))
        now = step.after
        assert Counter(map(noted, step.actions)) == expected
        assert _counters(now) == tuple(ledger.errors(kind) for kind in ErrorKind)
        assert now.closing == ledger.closing
        assert {m.message_id for m in now.pending} == set(ledger.pending)
        assert (now.recovered, now.lost) == (ledger.totals[Outcome.RECOVERED], ledger.totals[Outcome.LOST])
        assert (now.last_error_at, now.last_error_kind) == (ledger.last_error or (None, None))
        assert _known_as(now) == {
            key: (len(copies), key in ledger.counted, *ledger.outcomes.get(key, (None, None)))
            for key, copies in ledger.copies.items()
        }


@a_law
@given(lives, limits)
def test_a_close_comes_with_the_nth_consecutive_error_and_at_no_other_time(
    history: list[HealthEvent], limits: Limits
) -> None:
    blamed: dict[ErrorKind, list[str | None]] = {kind: [] for kind in ErrorKind}
    for step in lived(history, limits):
        for kind in ErrorKind:
            if step.before.closing is None and _resets(step.event, kind):
                blamed[kind].clear()
        if isinstance(step.event, Closed):
            blamed = {kind: [] for kind in ErrorKind}
        due = []
        for error in step.asked(RecordError):
            blamed[error.kind].append(error.sender and account(error.sender))
            once_each = limits.scope == "sender" and error.kind is ErrorKind.BAD_MAC
            count = len(set(blamed[error.kind]) if once_each else blamed[error.kind])
            assert (error.count, error.limit) == (count, limits.of(error.kind))
            if count >= error.limit:
                due.append(CloseSession(error.kind))
        assert step.asked(CloseSession) == due


@a_law
@given(lives, limits)
def test_a_session_closes_once_and_nothing_is_counted_reset_or_repaired_until_it_is_closed(
    history: list[HealthEvent], limits: Limits
) -> None:
    busy = RecordError | RecordReset | CloseSession | QuarantineSession | QuarantineSenderKey | QuarantineCollection
    closing = None
    for step in lived(history, limits):
        assert step.before.closing is closing
        if closing and not isinstance(step.event, Closed):
            assert not step.asked(busy)
            assert _counters(step.after) == _counters(step.before)
        if isinstance(step.event, Closed):
            closing = None
        for close in step.asked(CloseSession):
            closing = close.kind
        assert step.after.closing is closing


@a_law
@given(lives, limits)
def test_a_connection_puts_both_counters_to_zero(history: list[HealthEvent], limits: Limits) -> None:
    for step in lived([*history, Connected(START)], limits):
        if isinstance(step.event, Connected) and not step.event.for_repair and not step.before.closing:
            assert _counters(step.after) == (0, 0)
            assert not step.after.counted_senders
            assert step.after.messages == step.before.messages


@a_law
@given(lives, limits)
def test_a_connection_for_a_repair_changes_nothing(history: list[HealthEvent], limits: Limits) -> None:
    for step in lived([*history, Connected(START, for_repair=True)], limits):
        if step.event == Connected(step.event.at, for_repair=True):
            assert (step.after, step.actions) == (step.before, ())


@a_law
@given(lives, limits)
def test_a_reset_is_recorded_when_a_counter_falls_to_zero_and_only_then(
    history: list[HealthEvent], limits: Limits
) -> None:
    for step in lived(history, limits):
        fallen = [kind for kind in ErrorKind if step.before.errors(kind) > 0 == step.after.errors(kind)]
        if isinstance(step.event, Closed):
            assert not step.asked(RecordReset)
        else:
            assert step.asked(RecordReset) == [RecordReset(kind) for kind in fallen]


@a_law
@given(lives, limits)
def test_a_counter_grows_by_one_or_falls_to_zero(history: list[HealthEvent], limits: Limits) -> None:
    for step in lived(history, limits):
        for kind in ErrorKind:
            before, now = step.before.errors(kind), step.after.errors(kind)
            assert now in (before, before + 1, 0)
            assert 0 <= now <= limits.of(kind)
            assert now <= before or [error.kind for error in step.asked(RecordError)] == [kind]
        assert min(step.after.recovered, step.after.lost) >= 0


@a_law
@given(lives, unforgetting)
def test_a_counted_message_had_two_copies_with_a_bad_mac_and_had_not_ended(
    history: list[HealthEvent], limits: Limits
) -> None:
    bad_macs: Counter[str] = Counter()
    for step in lived(history, limits):
        if isinstance(step.event, MessageFailed) and step.event.cause is Cause.BAD_MAC:
            bad_macs[step.event.message_id] += 1
        for error in step.asked(RecordError):
            if error.kind is ErrorKind.BAD_MAC:
                assert bad_macs[error.message_id] >= 2
                assert step.before.messages[error.message_id].outcome is None


@a_law
@given(lives, unforgetting)
def test_a_message_whose_retry_has_not_come_back_is_never_counted(history: list[HealthEvent], limits: Limits) -> None:
    seen: set[str] = set()
    first_copies = []
    for event in history:
        if isinstance(event, MessageFailed):
            if event.message_id in seen:
                continue
            seen.add(event.message_id)
        first_copies.append(event)
    assert all(step.after.bad_mac == 0 for step in lived(first_copies, limits))


@a_law
@given(lives, limits, st.sampled_from(Encryption))
def test_a_copy_delivered_again_on_another_connection_is_not_counted(
    history: list[HealthEvent], limits: Limits, encryption: Encryption
) -> None:
    redelivered = [
        replace(event, connection=f"c{number}", encryption=encryption) if isinstance(event, MessageFailed) else event
        for number, event in enumerate(history)
    ]
    assert all(step.after.bad_mac == 0 for step in lived(redelivered, limits))


@a_law
@given(lives, limits, st.data())
def test_what_is_not_damage_counts_nothing_however_often_it_comes(
    history: list[HealthEvent], limits: Limits, data: st.DataObject
) -> None:
    harmless = [
        replace(event, cause=data.draw(st.sampled_from(NOT_COUNTED)))
        if isinstance(event, MessageFailed | CollectionFailed)
        else event
        for event in history
    ]
    for step in lived(harmless, limits):
        assert _counters(step.after) == (0, 0)
        assert step.after.closing is None
        assert not step.asked(RecordError | CloseSession | QuarantineSession | QuarantineSenderKey)
        assert not step.asked(QuarantineCollection)


@a_law
@given(lives, limits, st.sampled_from(NOT_COUNTED), st.sampled_from(MESSAGES), st.sampled_from(COLLECTIONS))
def test_what_is_not_damage_leaves_counters_as_they_are(
    history: list[HealthEvent], limits: Limits, cause: Cause, message: Sent, collection: str
) -> None:
    for before in [step.after for step in lived(history, limits)]:
        at = START + NEVER
        for event in (message.fails(at, cause), CollectionFailed(at, collection, cause)):
            after, _ = decide(before, event, limits)
            assert _counters(after) == _counters(before)
            assert after.closing is before.closing


@a_law
@given(lives, limits)
def test_the_socket_leaves_a_failing_store_and_only_that(history: list[HealthEvent], limits: Limits) -> None:
    for step in lived(history, limits):
        failing = getattr(step.event, "cause", None) is Cause.STORE
        assert step.asked(LeaveStore) == [LeaveStore()] * failing


@a_law
@given(lives, unforgetting)
def test_a_message_is_counted_once_at_most(history: list[HealthEvent], limits: Limits) -> None:
    errors = [error for step in lived(history, limits) for error in step.asked(RecordError)]
    counted = Counter(error.message_id for error in errors if error.kind is ErrorKind.BAD_MAC)
    assert set(counted.values()) <= {1}


@a_law
@given(lives, limits)
def test_every_failed_message_is_pending_recovered_or_lost(history: list[HealthEvent], limits: Limits) -> None:
    failed = 0
    for step in lived(history, limits):
        failed += len(step.asked(RecordPending))
        assert step.after.recovered + step.after.lost + len(step.after.pending) == failed


@a_law
@given(lives, unforgetting)
def test_a_message_ends_once_and_only_a_lost_one_may_still_be_recovered(
    history: list[HealthEvent], limits: Limits
) -> None:
    ends: dict[str, list[Outcome | None]] = defaultdict(list)
    for step in lived(history, limits):
        for end in step.asked(RecordEnd):
            ends[end.message.message_id].append(end.message.outcome)
            assert step.after.messages[end.message.message_id] == end.message
    assert all(
        outcomes in ([Outcome.RECOVERED], [Outcome.LOST], [Outcome.LOST, Outcome.RECOVERED])
        for outcomes in ends.values()
    )


@a_law
@given(lives, unforgetting)
def test_a_recovered_message_stays_so(history: list[HealthEvent], limits: Limits) -> None:
    for step in lived(history, limits):
        for message_id, before in step.before.messages.items():
            if before.outcome is Outcome.RECOVERED:
                assert step.after.messages[message_id].outcome is Outcome.RECOVERED


@a_law
@given(lives, limits.map(lambda some: replace(some, scope="sender")))
def test_in_the_scope_of_senders_each_is_counted_once(history: list[HealthEvent], limits: Limits) -> None:
    raised: set[str] = set()
    for step in lived(history, limits):
        if step.after.bad_mac == 0:
            raised.clear()
        elif step.after.bad_mac > step.before.bad_mac:
            (error,) = step.asked(RecordError)
            assert account(error.sender) not in raised
            raised.add(account(error.sender))
        assert step.after.bad_mac == len(raised)
        assert step.after.counted_senders == raised


@a_law
@given(lives, limits.map(lambda some: replace(some, scope="sender")), st.sampled_from(MESSAGES))
def test_in_the_scope_of_senders_one_stranger_closes_nothing(
    history: list[HealthEvent], limits: Limits, message: Sent
) -> None:
    limits = replace(limits, bad_mac=max(limits.bad_mac, 2))
    from_one = [
        replace(event, sender=message.sender) if isinstance(event, MessageFailed | MessageDecrypted) else event
        for event in history
    ]
    assert CloseSession(ErrorKind.BAD_MAC) not in [a for step in lived(from_one, limits) for a in step.actions]


@a_law
@given(lives, unforgetting)
def test_a_key_is_taken_away_only_as_it_was_at_the_first_failure_and_only_if_it_has_not_worked_since(
    history: list[HealthEvent], limits: Limits
) -> None:
    first: dict[str, MessageFailed] = {}
    worked: set[str] = set()
    for step in lived(history, limits):
        event = step.event
        if isinstance(event, MessageFailed) and event.cause is Cause.BAD_MAC:
            first.setdefault(event.message_id, event)
        if isinstance(event, MessageDecrypted):
            worked |= {key for key, m in first.items() if (m.sender, m.chat) == (event.sender, event.chat)}
        for repair in step.asked(QuarantineSession | QuarantineSenderKey):
            origin = first[repair.message_id]
            assert repair.message_id not in worked
            assert (repair.sender, repair.only_mark) == (origin.sender, origin.session_mark)
            assert isinstance(repair, QuarantineSenderKey) == origin.is_group
            assert not isinstance(repair, QuarantineSenderKey) or repair.chat == origin.chat


@a_law
@given(lives, limits)
def test_a_repair_goes_with_one_counted_error_and_never_with_a_close(
    history: list[HealthEvent], limits: Limits
) -> None:
    for step in lived(history, limits):
        repairs = step.asked(QuarantineSession | QuarantineSenderKey | QuarantineCollection)
        if not repairs:
            continue
        assert len(repairs) == len(step.asked(RecordError)) == 1
        assert not step.asked(CloseSession)
        if isinstance(repairs[0], QuarantineCollection):
            assert step.asked(RecordError)[0].collection == repairs[0].collection
        else:
            assert step.asked(RecordError)[0].message_id == repairs[0].message_id


@a_law
@given(lives, limits)
def test_a_close_leaves_nothing_counted_and_nothing_pending(history: list[HealthEvent], limits: Limits) -> None:
    for step in lived([*history, Closed(START + NEVER)], limits):
        if isinstance(step.event, Closed):
            assert _counters(step.after) == (0, 0)
            assert not step.after.pending
            assert len(step.asked(RecordEnd)) == len(step.before.pending)


@a_law
@given(lives, limits)
def test_time_ends_what_waited_too_long_and_forgets_what_ended_long_ago(
    history: list[HealthEvent], limits: Limits
) -> None:
    for step in lived(history, limits):
        if isinstance(step.event, TimePassed):
            at = step.event.at
            assert all(at - m.first_failed_at < limits.give_up_after for m in step.after.pending)
            assert all(
                m.ended_at is None or at - m.ended_at < limits.give_up_after for m in step.after.messages.values()
            )
            assert {m.message_id for m in step.before.pending} <= set(step.after.messages)
            assert _counters(step.after) == _counters(step.before)


@a_law
@given(lives, limits)
def test_the_same_history_decides_the_same(history: list[HealthEvent], limits: Limits) -> None:
    assert lived(history, limits) == lived(history, limits)


@a_law
@given(lives, limits)
def test_deciding_changes_nothing_that_it_was_given(history: list[HealthEvent], limits: Limits) -> None:
    steps = lived(history, limits, Health(messages={}))
    remembered = [(dict(step.after.messages), repr(step.after)) for step in steps]
    for step in steps:
        mutable = replace(step.before, messages=dict(step.before.messages))
        said, asked = repr((mutable, step.event, limits)), decide(mutable, step.event, limits)
        assert repr((mutable, step.event, limits)) == said
        assert asked == (step.after, step.actions)
    assert [(dict(step.after.messages), repr(step.after)) for step in steps] == remembered
    assert all(one.after is other.before for one, other in pairwise(steps))


def test_the_generated_histories_reach_all_that_the_laws_speak_of() -> None:
    reached: set[object] = set()
    for number, history in enumerate(shared_histories()):
        for step in lived(history, LIMITS[number % len(LIMITS)]):
            reached.update(
                action.message.outcome if isinstance(action, RecordEnd) else getattr(action, "kind", type(action))
                for action in step.actions
            )
            reached.update((type(action), action.kind) for action in step.asked(CloseSession))
    closes = {(CloseSession, kind) for kind in ErrorKind}
    assert reached >= {*ErrorKind, *Outcome, *closes, RecordPending, LeaveStore}
    assert reached >= {QuarantineSession, QuarantineSenderKey, QuarantineCollection}
