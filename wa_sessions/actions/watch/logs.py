"""What the Node backend's logs say about its phones, with whose messages failed where a database tells."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from wa_sessions.actions.connection import Opened
from wa_sessions.db import key_owners, phones
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.phones import Phone
from wa_sessions.errors import UsageError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.logs import files, following
from wa_sessions.logs.messages import of_senders
from wa_sessions.logs.numbers import as_registered, registered
from wa_sessions.logs.occurrences import Occurrence, occurrences
from wa_sessions.logs.report import LogReport, report
from wa_sessions.logs.scan_result import ScanResult
from wa_sessions.logs.senders import AGENTS
from wa_sessions.logs.times import NO_TIME

_ADDRESS = re.compile(r"(?P<user>\d+)(?:_\d+)?\.(?P<device>\d+)")
_JID = re.compile(r"(?P<user>\d+)(?::(?P<device>\d+))?@(?P<server>[\w.]+)")


@dataclass(frozen=True, slots=True)
class Names:
    """Keys of a sender: those that its messages are decrypted with, and others that a phone holds that knows it."""

    used: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Both."""
        return self.used + self.others


@dataclass(frozen=True, slots=True)
class Line:
    """An event, and what its phones are called."""

    event: Occurrence
    names: tuple[str | None, ...]


def read_logs(names: Sequence[str]) -> list[ScanResult]:
    """Read log files (``-``: stdin). Raises OSError, UsageError."""
    return files.read(names)


def follow_news(names: Sequence[str]) -> Iterator[list[ScanResult]]:
    """What is new in the logs: all of it at once, then what they say more, for ever. Raises OSError, UsageError."""
    return following.follow_news(names)


def follow(names: Sequence[str]) -> Iterator[list[ScanResult]]:
    """What the logs have said so far: at once, and whenever more is there, for ever. Raises OSError, UsageError."""
    return following.follow(names)


@dataclass(frozen=True, slots=True)
class Scope:
    """What is to be told: of an organization or of one phone; only what was written since then."""

    organization_id: int | None = None
    phone: PhoneRef | None = None
    since: datetime | None = None

    @property
    def narrow(self) -> bool:
        """Whether it is of some phones only."""
        return self.phone is not None or self.organization_id is not None

    @property
    def since_ms(self) -> int:
        """The time in ms, or NO_TIME."""
        return NO_TIME if self.since is None else round(self.since.timestamp() * 1000)


EVERYTHING = Scope()


def told(found: Sequence[ScanResult], opened: Opened | None = None, scope: Scope = EVERYTHING) -> LogReport:
    """Put together what logs say; with a database the library's lines are attributed to phones. SELECT is enough.

    Raises PhoneNotFound, AmbiguousPhone, PermissionMissing, DatabaseError; UsageError for a phone's id without a
    database.
    """
    senders = of_senders(found, scope.since_ms)
    if opened is None:
        return report(found, senders, {}, {}, only=_without_database(scope.phone), since=scope.since_ms)
    listed, numbers, whose = _looked_up(opened, senders, scope)
    as_registered(found, numbers.values())
    only = {phone.number for phone in listed} if scope.narrow else None
    return report(
        *(found, senders, numbers, whose),
        only=only,
        names={phone.number: phone.display_name for phone in listed},
        left_out=left_out(listed),
        since=scope.since_ms,
    )


def happened(found: Sequence[ScanResult], opened: Opened | None = None, scope: Scope = EVERYTHING) -> list[Line]:
    """The same events one by one, those of phones that are asked for. Raises what ``told`` raises."""
    if opened is None:
        numbers, names, whose = dict[int, str](), dict[str, str | None](), dict[bytes, frozenset[str]]()
        only = _without_database(scope.phone)
    else:
        listed, numbers, whose = _looked_up(opened, of_senders(found), scope)
        as_registered(found, numbers.values())
        names = {phone.number: phone.display_name for phone in listed}
        only = set(names) if scope.narrow else None
    return [
        Line(event, tuple(names.get(phone) for phone in event.phones))
        for event in occurrences(found, numbers, whose)
        if only is None or only.intersection(event.phones)
    ]


def _looked_up(
    opened: Opened, senders: Iterable[bytes], scope: Scope
) -> tuple[list[Phone], dict[int, str], dict[bytes, frozenset[str]]]:
    """The phones that are asked for, the numbers of all by id, and whose the senders are."""
    with opened.database.transaction() as conn:
        everybody = phones.list_phones(conn, opened.backend) if opened.backend.has_phones else []
        if scope.phone:
            listed = [phones.find(conn, opened.backend, scope.phone, scope.organization_id)]
        else:
            listed = [one for one in everybody if scope.organization_id in (None, one.organization_id)]
        numbers = {phone.id: phone.number for phone in everybody}
        return listed, numbers, holders_of(conn, opened.backend, senders, scope.organization_id)


def _without_database(phone: PhoneRef | None) -> set[str] | None:
    if phone is None:
        return None
    if phone.digits is None:
        raise UsageError("a phone is found by its id in the database alone: give its number")
    return {phone.digits}


def left_out(listed: Sequence[Phone]) -> list[tuple[str, str]]:
    """Phones of which a Node backend's logs cannot tell, and why."""
    numbers = Counter(phone.number for phone in listed)
    return [(phone.number, why) for phone in listed if (why := _left_out(phone, numbers))]


def _left_out(phone: Phone, numbers: Counter[str]) -> str | None:
    if phone.connection_type == ConnectionType.WABA:
        return "the official API runs it"
    if phone.connection_type != ConnectionType.BAILEYS:
        return "a worker runs it"
    return "its number stands in two organizations" if numbers[phone.number] > 1 else None


def holders_of(
    conn: Connection, backend: Backend, senders: Iterable[bytes], organization_id: int | None = None
) -> dict[bytes, frozenset[str]]:
    """The numbers of the phones that a sender may have written to, by the rows that they hold."""
    names = {sender: key_names(sender.decode("utf-8", "replace")) for sender in senders}
    wanted = {name for one in names.values() for name in one.all}
    rows = key_owners.of_keys(conn, backend, wanted, organization_id)
    listed = phones.list_phones(conn, backend, organization_id) if rows and backend.has_phones else []
    known = {phone.number for phone in listed}
    held = {name: {registered(number, known) for number in numbers} for name, numbers in rows.items()}
    return {sender: holding(one, held) for sender, one in names.items()}


def key_names(sender: str) -> Names:
    """The Node backend's keys that belong to a sender as libsignal or Baileys names it.

    >>> key_names("77019990053.2").used
    ('session-77019990053.2',)
    >>> key_names("99887766:1@lid|120363041000000000@g.us").used
    ('sender-key-120363041000000000@g.us::99887766_1::1',)
    """
    who, bar, group = sender.partition("|")
    if not bar:
        match = _ADDRESS.fullmatch(sender)
        return Names((f"session-{sender}",), _of_user(match["user"], sender) if match else ())
    jid = _JID.fullmatch(who)
    if jid is None:
        return Names((), ())
    user, device = jid["user"], jid["device"] or "0"
    agent = user + AGENTS.get(jid["server"].encode(), b"").decode()
    return Names(
        (f"sender-key-{group}::{agent}::{device}",), (f"session-{agent}.{device}", *_of_user(user, f"{agent}.{device}"))
    )


def _of_user(user: str, address: str) -> tuple[str, ...]:
    first = re.sub(r"\.\d+$", ".0", address)
    plain = first.replace("_128.", ".").replace("_129.", "_1.")
    names = (f"session-{first}", f"session-{plain}", f"lid-mapping-{user}", f"lid-mapping-{user}_reverse")
    return *dict.fromkeys(names), f"device-list-{user}"


def holding(names: Names, held: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Who holds the very key; where nobody does (any more), who knows the sender."""
    used = frozenset(number for name in names.used for number in held.get(name, ()))
    return used or frozenset(number for name in names.others for number in held.get(name, ()))
