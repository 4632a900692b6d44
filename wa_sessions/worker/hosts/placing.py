"""PURE: which host a client goes into, and who is suspected when a host crashes.

A crash takes a whole host and names nobody. So the phones of a crashed host share smaller hosts from crash to crash,
until the one that crashes hosts is alone; whoever was being started just then goes alone at once. What crashes even a
host of its own is set aside.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

QUIET = 600.0
"""Seconds without a crash after which a phone is like any other."""

FEW = 5
"""Phones that share a host after the second crash."""

ALONE_AFTER = 3
"""Crashes after which a phone has a host of its own, and crashes of that one after which it is set aside."""

START_TIMEOUT = 5.0
"""Seconds that a start may take before its host is left alone with it."""

STUCK_HOSTS = 2
"""Hosts with such a start before a phone joins one of them: then it is WhatsApp that does not answer, not a host."""


@dataclass(frozen=True, slots=True)
class Record:
    """What crashes tell of one phone. ``quiet_since``: the last crash; while one that goes alone is away, never."""

    crashes: int = 0
    alone: int = 0
    quiet_since: float = 0.0


@dataclass(frozen=True, slots=True)
class HostView:
    """A host as placing sees it. ``reserved``: it takes nobody else (it pairs, retires or ends)."""

    host: int
    phones: frozenset[int]
    reserved: bool = False
    starting_since: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a crash leads to: phones that are set aside, and phones that go alone from now on."""

    set_aside: frozenset[int] = frozenset()
    named: frozenset[int] = frozenset()


@dataclass(slots=True)
class Suspects:
    """The phones that were in hosts that crashed. ``sessions_per_host``: clients of an ordinary host."""

    sessions_per_host: int
    _records: dict[int, Record] = field(default_factory=dict)

    def limit(self, phone: int, now: float) -> int:
        """How many may share a host with this phone, itself counted."""
        crashes = self._record(phone, now).crashes
        few = min(FEW, self.sessions_per_host)
        return self.sessions_per_host if crashes < 2 else few if crashes < ALONE_AFTER else 1

    def place(self, hosts: Iterable[HostView], phone: int, now: float) -> int | None:
        """The fullest host that this phone may join; None: a new one."""
        limit = self.limit(phone, now)
        able = [host for host in hosts if self._may_join(host, limit, now)]
        free = [host for host in able if not _is_stuck(host, now)]
        if not free and len(able) < STUCK_HOSTS:
            return None
        return max(free or able, key=lambda host: (len(host.phones), -host.host)).host

    def placed(self, phone: int, now: float) -> None:
        """It runs from now on: one that is alone has to show 10 quiet minutes, not to be away for them."""
        record = self._record(phone, now)
        if record.crashes >= ALONE_AFTER:
            self._records[phone] = replace(record, quiet_since=now)

    def crashed(self, phones: Collection[int], starting: Collection[int], now: float) -> Verdict:
        """A host with these phones crashed while ``starting`` were being started."""
        before = {phone: self._record(phone, now) for phone in phones}
        after = {phone: _after(record, phone in starting, len(phones), now) for phone, record in before.items()}
        set_aside = frozenset(phone for phone, record in after.items() if record.alone >= ALONE_AFTER)
        named = frozenset(phone for phone in phones if before[phone].crashes < ALONE_AFTER <= after[phone].crashes)
        for phone, record in after.items():
            self._records[phone] = replace(record, alone=0) if phone in set_aside else record
        return Verdict(set_aside, named)

    def superfluous(self, hosts: Iterable[HostView], now: float) -> int | None:
        """A host that others have room for, so that it need not be: the emptiest. None if there is none.

        It is a third full at most, so that clients are not moved to and fro.
        """
        limit = self.sessions_per_host
        ordinary = [host for host in hosts if host.phones and self._may_join(host, limit, now)]
        room = sum(limit - len(host.phones) for host in ordinary)
        for host in sorted(ordinary, key=lambda host: (len(host.phones), -host.host)):
            size = len(host.phones)
            if size * 3 <= limit and room - (limit - size) >= size:
                return host.host
        return None

    def _may_join(self, host: HostView, limit: int, now: float) -> bool:
        alike = all(self.limit(phone, now) == limit for phone in host.phones)
        return not host.reserved and len(host.phones) < limit and alike

    def _record(self, phone: int, now: float) -> Record:
        record = self._records.get(phone, Record())
        if now - record.quiet_since < QUIET:
            return record
        self._records.pop(phone, None)
        return Record()


def _is_stuck(host: HostView, now: float) -> bool:
    return host.starting_since is not None and now - host.starting_since > START_TIMEOUT


def _after(record: Record, starting: bool, company: int, now: float) -> Record:  # noqa: FBT001  # one of two ways
    crashes = max(record.crashes + 1, ALONE_AFTER if starting else 0)
    alone = record.alone + 1 if company == 1 else record.alone
    return Record(crashes, alone, now if crashes < ALONE_AFTER else math.inf)
