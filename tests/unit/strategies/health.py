"""Generated histories of a session: what can happen to it, in any order, with times that only grow."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from typing import Any, Literal

from hypothesis import strategies as st

from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.health.decide import decide
from wa_sessions.health.model import (
    Action,
    Closed,
    CollectionFailed,
    CollectionSynced,
    Connected,
    Health,
    HealthEvent,
    Limits,
    MessageDecrypted,
    MessageFailed,
    MessageGivenUp,
    TimePassed,
)

START = datetime(2026, 9, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

GROUP = "120363000000000001@g.us"
OTHER_GROUP = "120363000000000002@g.us"


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as its sender made it."""

    message_id: str
    sender: str
    chat: str

    @property
    def is_group(self) -> bool:
        return self.chat.endswith("@g.us")

    def fails(
        self,
        at: datetime = START,
        cause: Cause = Cause.BAD_MAC,
        encryption: Encryption = Encryption.MESSAGE,
        connection: str = "c1",
        session_mark: str | None = "mark",
    ) -> MessageFailed:
        return MessageFailed(
            at=at,
            message_id=self.message_id,
            sender=self.sender,
            chat=self.chat,
            is_group=self.is_group,
            cause=cause,
            encryption=encryption,
            connection=connection,
            session_mark=session_mark,
        )

    def decrypts(self, at: datetime = START) -> MessageDecrypted:
        return MessageDecrypted(at, self.message_id, self.sender, self.chat)


MESSAGES = (
    Sent("3EB0A1", "1001:1@lid", "1001@lid"),
    Sent("3EB0A2", "1001:1@lid", GROUP),
    Sent("3EB0A3", "1001:2@lid", "1001@lid"),
    Sent("3EB0B1", "2002:1@lid", GROUP),
    Sent("3EB0B2", "2002:1@lid", OTHER_GROUP),
    Sent("3EB0C1", "77053334455@s.whatsapp.net", "77053334455@s.whatsapp.net"),
)
COLLECTIONS = ("critical_block", "regular_high")

_PAUSES = (timedelta(0), SECOND, SECOND, timedelta(minutes=10), timedelta(hours=5), timedelta(hours=24))

Befalling = Callable[[Sent], HealthEvent]


def _copies() -> list[Befalling]:
    causes = (*[Cause.BAD_MAC] * 7, Cause.STORE, Cause.MISSING_KEY, Cause.UNTRUSTED_IDENTITY, Cause.OTHER)
    marks = ("mark-1", "mark-2", "mark-3", None)
    connections = ("c1", "c1", "c1", "c2", "c2")
    encryptions = (Encryption.MESSAGE, Encryption.MESSAGE, Encryption.PREKEY_MESSAGE, Encryption.UNKNOWN)
    return [
        partial(Sent.fails, cause=cause, session_mark=mark, connection=connection, encryption=encryption)
        for encryption, connection, mark, cause in product(encryptions, connections, marks, causes)
    ]


def _another_decrypts(message: Sent) -> HealthEvent:
    return replace(message, message_id="3EB0FF").decrypts()


def _given_up(message: Sent) -> HealthEvent:
    return MessageGivenUp(START, message.message_id)


_copy = st.sampled_from(_copies())
_TURNS: tuple[Callable[[Sent], HealthEvent], ...] = (_another_decrypts, Sent.decrypts, _given_up)
_turn = st.sampled_from(_TURNS)
_lives = st.builds(
    lambda message, befallings: [befalling(message) for befalling in befallings],
    st.sampled_from(MESSAGES),
    st.lists(st.one_of(_copy, _copy, _copy, _turn), min_size=1, max_size=4),
)
_others = st.sampled_from(
    [
        *[Closed(START)] * 5,
        *[TimePassed(START)] * 3,
        Connected(START),
        Connected(START, for_repair=True),
        *(turn(message) for message, turn in product(MESSAGES, _TURNS[1:])),
        *(CollectionSynced(START, collection) for collection in COLLECTIONS),
        *(CollectionFailed(START, collection, cause) for collection, cause in product(COLLECTIONS, Cause)),
        *(CollectionFailed(START, collection, Cause.BAD_DECRYPT) for collection in COLLECTIONS * 6),
    ]
)
_damage = st.sampled_from(
    [
        [message.fails(connection=connection, session_mark=mark)] * copies
        for copies, mark, connection, message in product((2, 1, 3), ("mark-1", None), ("c1", "c2"), MESSAGES)
    ]
)
_happenings = st.one_of(_lives, _damage, _damage, _others.map(lambda event: [event]))
_steps = st.tuples(_happenings, st.sampled_from(_PAUSES))

_SCOPES: tuple[Literal["account", "sender"], ...] = ("account", "sender")
LIMITS = [
    Limits(bad_mac, bad_decrypt, scope, age)
    for age, scope, bad_mac, bad_decrypt in product((DAY, timedelta(hours=6)), _SCOPES, (3, 1, 2, 4), (5, 1, 2, 3))
]
limits = st.sampled_from(LIMITS)


def _timed(steps: Iterable[tuple[list[HealthEvent], timedelta]]) -> list[HealthEvent]:
    at = START
    events = []
    for happening, pause in steps:
        at += pause
        events += [replace(event, at=at + number * SECOND) for number, event in enumerate(happening)]
        at = events[-1].at
    return events


histories = st.one_of(st.lists(_steps, max_size=5), st.lists(_steps, min_size=8, max_size=24)).map(_timed)


@dataclass(frozen=True, slots=True)
class Step:
    """One decision: what was known, what happened, what is known now and what is to be done."""

    before: Health
    event: HealthEvent
    after: Health
    actions: tuple[Action, ...]

    def asked(self, kind: Any) -> list[Any]:
        """The actions of a kind, or of a union of kinds."""
        return [action for action in self.actions if isinstance(action, kind)]


def lived(history: Iterable[HealthEvent], limits: Limits, health: Health | None = None) -> list[Step]:
    """Decide on each event in turn."""
    health = health or Health()
    steps = []
    for event in history:
        after, actions = decide(health, event, limits)
        steps.append(Step(health, event, after, actions))
        health = after
    return steps
