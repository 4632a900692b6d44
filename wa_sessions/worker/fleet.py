"""PURE: which phones a worker takes and which it lets go, seen from the rows that all workers read.

Every worker comes to the same shares from the same rows, and nobody has to be asked: the phones of a scope are divided
by its workers, what is over goes to those that have most already. Where some hand messages to a handler and others do
not, they have all of them, as messages would go by the others. Times are seconds.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from uuid import UUID

SETTLED = 60.0
"""Seconds that a phone stays where it is before it is moved for the balance: one move a phone and minute."""

A_TAKE = 0.1
"""Seconds that a worker may need to take one phone: of many that are free none is overdue before."""

FEW = 5
"""Phones that leave a worker at a time: each is without a socket for a moment."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which phones a worker shares with others: all, or those of one organization."""

    organization_id: int | None = None

    @property
    def name(self) -> str:
        """As it stands in the worker's row."""
        return "all" if self.organization_id is None else f"org:{self.organization_id}"


class Holder(Enum):
    """Who has a phone that this worker may have to do with; what another has and renews is not looked at."""

    NOBODY = auto()  # also: a worker that is known to be gone
    SILENT = auto()  # a worker that may be taken from, as it was not heard of for so long
    ME = auto()


@dataclass(frozen=True, slots=True)
class Peer:
    """A worker as its row tells. ``held``: its phones. ``live``: renewed of late, and not known to be gone.

    ``handles``: whether it hands messages to a handler; ``name``: for people.
    """

    id: UUID
    scope: str | None
    held: int = 0
    live: bool = True
    draining: bool = False
    handles: bool = True
    name: str = ""

    @property
    def able(self) -> bool:
        """Whether it may take phones."""
        return self.live and not self.draining

    def covers(self, phone: "Candidate") -> bool:
        """Whether it takes this phone where nobody names it; of one whose phones are named that is not known."""
        return self.scope in ("all", f"org:{phone.organization_id}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A phone that may be taken or let go. ``held_for``: by me; ``free_for``: since I saw it so.

    ``owner``: whose row has it, also where that is a worker that is gone. ``wanted_by``: whom an operator wants to have
    it; ``left``: why it is not to be run by this worker any more; ``kept``: nobody took it when it was offered.
    """

    id: int
    organization_id: int = 0
    holder: Holder = Holder.NOBODY
    owner: UUID | None = None
    held_for: float = 0.0
    free_for: float = 0.0
    wanted_by: UUID | None = None
    left: str | None = None
    kept: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """What one worker knows. ``scope`` is None for one that runs phones that it was given by name: it never balances.

    ``wary``: it was silent itself, or has just begun, so that others' silence proves nothing yet. ``leaving``: phones
    that are being let go; ``patience``: seconds after which a free phone is taken though it is another's share, and
    ``A_TAKE`` more for each that is free with it.
    """

    me: UUID
    scope: str | None
    peers: tuple[Peer, ...]
    phones: tuple[Candidate, ...]
    wary: bool = False
    leaving: frozenset[int] = frozenset()
    patience: float = 5.0


@dataclass(frozen=True, slots=True)
class LetGo:
    """A phone to be let go, and why. ``left``: it is no worker's of this kind any more."""

    phone_id: int
    reason: str
    balance: bool = False
    left: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: phones to take, in this order, and to let go. ``waits``: it is drained, and nobody could take any."""

    take: tuple[int, ...] = ()
    let_go: tuple[LetGo, ...] = ()
    waits: bool = field(default=False, compare=False)


def decide(view: View) -> Plan:
    """What this worker does now."""
    me = next((peer for peer in view.peers if peer.id == view.me), None)
    if me is None or not me.live:  # it has to come back first
        return Plan()
    others = [peer for peer in view.peers if peer.id != view.me and peer.able]
    mine = [phone for phone in _ordered(view.phones) if phone.holder is Holder.ME and phone.id not in view.leaving]
    let_go = [gone for phone in mine if (gone := _has_to_go(phone, others))]
    going = {gone.phone_id for gone in let_go}
    staying = [phone for phone in mine if phone.id not in going]
    few = max(0, FEW - len(view.leaving))
    if me.draining:
        drained = [phone for phone in staying if any(peer.covers(phone) for peer in others)]
        let_go += [LetGo(phone.id, "this worker is drained") for phone in drained[:few]]
        take = _takes_of_nobody(view, others)
        return Plan(take, tuple(let_go), waits=bool(staying or take) and not drained)
    if view.scope is not None:
        let_go += _surplus(staying, quotas(view).get(view.me, 0), few)
    return Plan(_takes(view, others, len(staying)), tuple(let_go))


def quotas(view: View) -> dict[UUID, int]:
    """How many phones each worker of the scope is to have, by worker; of those that are to have any."""
    everyone = {peer.id: peer for peer in view.peers if peer.scope == view.scope}
    ownerless = sum(phone.holder is not Holder.ME and phone.owner not in everyone for phone in view.phones)
    total = ownerless + sum(peer.held for peer in everyone.values())
    handled = any(peer.handles for peer in _sharers(view))
    sharing = [peer for peer in _sharers(view) if peer.id in everyone and (peer.handles or not handled)]
    sharing.sort(key=lambda peer: (-peer.held, peer.id))
    if not sharing:
        return {}
    each, over = divmod(total, len(sharing))
    return {peer.id: each + (place < over) for place, peer in enumerate(sharing)}


def lacks_handler(view: View) -> bool:
    """Whether this worker has no handler for messages, and others of its phones have."""
    sharers = {peer.id: peer for peer in _sharers(view)}
    mine = sharers.get(view.me) if view.scope is not None else None
    return mine is not None and not mine.handles and any(peer.handles for peer in sharers.values())


def _sharers(view: View) -> list[Peer]:
    """The workers that may take any phone of this scope."""
    return [peer for peer in view.peers if peer.able and peer.scope in (view.scope, Scope().name)]


def _has_to_go(phone: Candidate, others: Collection[Peer]) -> LetGo | None:
    if phone.left is not None:
        return LetGo(phone.id, phone.left, left=True)
    if (wanting := _wanting(phone, others)) is not None:
        return LetGo(phone.id, f"an operator moves it to worker {wanting.name}")
    return None


def _wanting(phone: Candidate, others: Collection[Peer]) -> Peer | None:
    """The other worker that is to have it, and can."""
    able = (peer for peer in others if peer.id == phone.wanted_by and (peer.scope is None or peer.covers(phone)))
    return next(able, None)


def _surplus(staying: Collection[Candidate], quota: int, few: int) -> list[LetGo]:
    """What is above the share, those first that are here for longest."""
    settled = [phone for phone in staying if phone.held_for >= SETTLED and not phone.kept]
    settled.sort(key=lambda phone: (-phone.held_for, phone.id))
    most = min(few, len(staying) - quota)
    reason = "other workers have fewer phones" if quota else "this worker has no share of the phones"
    return [LetGo(phone.id, reason, balance=True) for phone in settled[: max(0, most)]]


def _takes_of_nobody(view: View, others: Collection[Peer]) -> tuple[int, ...]:
    """What a drained worker takes all the same: what would be without any, as where all are drained at once."""
    if view.scope is None:
        return ()
    free = (phone for phone in _ordered(view.phones) if _is_free(phone, view) and phone.free_for > view.patience)
    return tuple(phone.id for phone in free if not any(peer.covers(phone) for peer in others))


def _is_free(phone: Candidate, view: View) -> bool:
    return phone.holder is not Holder.ME and not (phone.holder is Holder.SILENT and view.wary)


def _takes(view: View, others: Collection[Peer], held: int) -> tuple[int, ...]:
    """Free phones: what is wanted of me, what nobody has taken for too long, and others up to my share.

    By id, but each worker begins at another place: else all would try for the same one, and the fastest had them all.
    """
    shared = {} if view.scope is None else quotas(view)
    quota = shared.get(view.me)
    shares = view.scope is None or quota is not None
    free = [phone for phone in _ordered(view.phones) if _is_free(phone, view) and _wanting(phone, others) is None]
    patience = view.patience + len(free) * A_TAKE / max(1, len(shared))
    begin = len(free) * sorted(shared).index(view.me) // len(shared) if view.me in shared else 0
    taken: list[int] = []
    for phone in free[begin:] + free[:begin]:
        below = quota is None or held + len(taken) < quota
        if (shares and (below or phone.free_for > patience)) or phone.wanted_by == view.me:
            taken.append(phone.id)
    return tuple(taken)


def _ordered(phones: Iterable[Candidate]) -> list[Candidate]:
    return sorted(phones, key=lambda phone: phone.id)
