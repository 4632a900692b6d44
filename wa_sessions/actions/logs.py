"""What the Node backend's logs say about its phones, with whose messages failed where a database tells."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from wa_sessions.actions.connection import Opened
from wa_sessions.db import holders, phones
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.logs import files, following
from wa_sessions.logs.found import Found
from wa_sessions.logs.messages import of_senders
from wa_sessions.logs.report import LogReport, report

_ADDRESS = re.compile(r"(?P<user>\d+)(?:_\d+)?\.(?P<device>\d+)")
_AGENTS = {"lid": "_1", "hosted": "_128", "hosted.lid": "_129"}
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


def read_logs(names: Sequence[str]) -> list[Found]:
    """Read log files (``-``: stdin). Raises OSError, UsageError."""
    return files.read(names)


def follow(names: Sequence[str]) -> Iterator[list[Found]]:
    """What the logs have said so far: at once, and whenever more is there, for ever. Raises OSError, UsageError."""
    return following.follow(names)


def told(found: Sequence[Found], opened: Opened | None = None, organization_id: int | None = None) -> LogReport:
    """Put together what logs say; with a database the library's lines are attributed to phones. SELECT is enough.

    Raises PermissionMissing, DatabaseError.
    """
    senders = of_senders(found)
    if opened is None:
        return report(found, senders, {}, {})
    with opened.database.transaction() as conn:
        listed = phones.list_phones(conn, opened.backend, organization_id) if opened.backend.has_phones else []
        whose = holders_of(conn, opened.backend, senders, organization_id)
    numbers = {phone.id: phone.number for phone in listed}
    return report(found, senders, numbers, whose, only=set(numbers.values()) if organization_id is not None else None)


def holders_of(
    conn: Connection, backend: Backend, senders: Iterable[bytes], organization_id: int | None = None
) -> dict[bytes, frozenset[str]]:
    """The numbers of the phones that a sender may have written to, by the rows that they hold."""
    names = {sender: key_names(sender.decode("utf-8", "replace")) for sender in senders}
    wanted = {name for one in names.values() for name in one.all}
    held = holders.of_keys(conn, backend, wanted, organization_id)
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
    agent = user + _AGENTS.get(jid["server"], "")
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
