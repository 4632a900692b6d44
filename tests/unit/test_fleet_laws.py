"""Workers that share phones: laws over fleets in which workers come, fall silent, are drained and are killed."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.worker.fleet import (
    FEW,
    SETTLED,
    Candidate,
    Holder,
    Peer,
    Plan,
    Scope,
    View,
    decide,
    lacks_handler,
    quotas,
)

LOOK = 5.0  # seconds from one look to the next
PATIENCE = 5.0


@dataclass
class Phone:
    """``owner`` has its lease, since ``taken``; moved at these times."""

    id: int
    owner: UUID | None = None
    taken: float = 0.0
    free_since: float = 0.0
    wanted_by: UUID | None = None
    moves: list[float] = field(default_factory=list)


@dataclass
class Worker:
    id: UUID
    draining: bool = False
    killed: bool = False


@dataclass
class Fleet:
    """The rows, and time. Plans are carried out at once, one worker after another in any order."""

    phones: list[Phone]
    workers: list[Worker] = field(default_factory=list)
    time: float = 0.0

    def join(self, draining: bool = False) -> Worker:
        worker = Worker(UUID(int=len(self.workers) + 1), draining)
        self.workers.append(worker)
        return worker

    def view(self, me: Worker) -> View:
        listed = [self._seen(phone, me) for phone in self.phones if self._is_listed(phone, me)]
        peers = [
            Peer(worker.id, "all", sum(p.owner == worker.id for p in self.phones), not worker.killed, worker.draining)
            for worker in self.workers
        ]
        return View(me.id, "all", tuple(peers), tuple(listed), patience=PATIENCE)

    def look(self, me: Worker) -> Plan:
        plan = decide(self.view(me))
        for phone in self.phones:
            if phone.id in {gone.phone_id for gone in plan.let_go}:
                assert phone.owner == me.id
                phone.owner, phone.free_since = None, self.time
            if phone.id in plan.take:
                assert phone.owner is None or self._worker(phone.owner).killed
                phone.owner, phone.taken = me.id, self.time
                phone.moves.append(self.time)
                phone.wanted_by = None if phone.wanted_by == me.id else phone.wanted_by
        return plan

    def settle(self, chance: Random, minutes: float = 5.0) -> None:
        until = self.time + minutes * 60
        while self.time < until:
            self.time += LOOK
            for worker in chance.sample(self.living, len(self.living)):
                self.look(worker)

    @property
    def living(self) -> list[Worker]:
        return [worker for worker in self.workers if not worker.killed]

    def held(self, worker: Worker) -> int:
        return sum(phone.owner == worker.id for phone in self.phones)

    def _worker(self, id_: UUID) -> Worker:
        return next(worker for worker in self.workers if worker.id == id_)

    def _is_listed(self, phone: Phone, me: Worker) -> bool:
        return phone.owner is None or phone.owner == me.id or self._worker(phone.owner).killed

    def _seen(self, phone: Phone, me: Worker) -> Candidate:
        holder = Holder.ME if phone.owner == me.id else Holder.NOBODY
        return Candidate(
            phone.id,
            1,
            holder,
            phone.owner,
            held_for=self.time - phone.taken,
            free_for=self.time - phone.free_since if phone.owner is None else 0.0,
            wanted_by=phone.wanted_by,
        )


def _fleet(phones: int, workers: int) -> Fleet:
    fleet = Fleet([Phone(n + 1) for n in range(phones)])
    for _ in range(workers):
        fleet.join()
    return fleet


def _is_balanced(fleet: Fleet) -> bool:
    counts = [fleet.held(worker) for worker in fleet.living if not worker.draining]
    return max(counts) - min(counts) <= 1 and sum(counts) == len(fleet.phones)


@given(st.integers(0, 1 << 30).map(Random), st.integers(0, 30), st.integers(1, 5))
def test_everything_ends_up_held_once_and_balanced_whatever_the_order_of_looks(
    chance: Random, phones: int, workers: int
) -> None:
    fleet = _fleet(phones, workers)
    fleet.settle(chance)
    assert _is_balanced(fleet)


@given(
    st.integers(0, 1 << 30).map(Random),
    st.integers(1, 25),
    st.lists(st.tuples(st.sampled_from(["join", "kill", "drain", "wait", "want"]), st.integers(0, 9)), max_size=6),
)
def test_after_any_life_of_the_fleet_all_is_balanced_and_nothing_goes_to_and_fro(
    chance: Random, phones: int, life: list[tuple[str, int]]
) -> None:
    fleet = _fleet(phones, 2)
    for event, which in life:
        able = [worker for worker in fleet.living if not worker.draining]
        one = able[which % len(able)]
        match event:
            case "join":
                fleet.join()
            case "kill" if len(able) > 1:
                one.killed = True
            case "drain" if len(able) > 1:
                one.draining = True
            case "want":
                fleet.phones[which % phones].wanted_by = one.id
            case _:
                pass
        fleet.settle(chance, chance.choice([0.1, 1.0, 2.0]))
    fleet.settle(chance)
    assert _is_balanced(fleet)
    assert all(fleet.held(worker) == 0 for worker in fleet.living if worker.draining)
    before = [list(phone.moves) for phone in fleet.phones]
    fleet.settle(chance, 2)
    assert [phone.moves for phone in fleet.phones] == before


@given(st.integers(0, 1 << 30).map(Random), st.integers(1, 25), st.integers(1, 4), st.data())
def test_no_phone_is_without_a_worker_where_all_are_drained_at_once(
    chance: Random, phones: int, workers: int, data: st.DataObject
) -> None:
    """What one gave away in time for another to be drained too was nobody's."""
    fleet = _fleet(phones, workers)
    fleet.settle(chance)
    for worker in data.draw(st.permutations(fleet.workers)):
        worker.draining = True
        for looking in data.draw(st.lists(st.sampled_from(fleet.workers), max_size=4)):
            fleet.look(looking)
    fleet.settle(chance, 1)
    assert all(phone.owner is not None for phone in fleet.phones)
    before = [list(phone.moves) for phone in fleet.phones]
    fleet.settle(chance, 2)
    assert [phone.moves for phone in fleet.phones] == before
    able = fleet.join()
    fleet.settle(chance)
    assert fleet.held(able) == phones


@given(st.integers(0, 1 << 30).map(Random), st.integers(1, 30), st.integers(1, 4))
def test_without_death_drain_or_operator_no_phone_moves_twice_a_minute(
    chance: Random, phones: int, joining: int
) -> None:
    fleet = _fleet(phones, 1)
    for _ in range(joining):
        fleet.settle(chance, chance.choice([0.5, 2.0]))
        fleet.join()
    fleet.settle(chance)
    assert _is_balanced(fleet)
    for phone in fleet.phones:
        assert all(after - before >= SETTLED for before, after in pairwise(phone.moves))


@given(st.integers(0, 50), st.lists(st.integers(0, 20), min_size=1, max_size=6))
def test_shares_add_up_and_differ_by_one_at_most_and_those_with_most_have_the_larger(
    free: int, held: list[int]
) -> None:
    peers = tuple(Peer(UUID(int=n + 1), "all", count) for n, count in enumerate(held))
    view = View(peers[0].id, "all", peers, tuple(Candidate(n) for n in range(free)))
    shares = quotas(view)
    assert sum(shares.values()) == free + sum(held)
    assert max(shares.values()) - min(shares.values()) <= 1
    larger = [peer.held for peer in peers if shares[peer.id] > min(shares.values())]
    smaller = [peer.held for peer in peers if shares[peer.id] == min(shares.values())]
    assert not larger or not smaller or min(larger) >= max(smaller)


ME, OTHER = UUID(int=1), UUID(int=2)


def _view(*phones: Candidate, peers: tuple[Peer, ...] = (Peer(ME, "all"), Peer(OTHER, "all")), **how: object) -> View:
    return View(ME, how.pop("scope", "all"), peers, phones, **how)  # type: ignore[arg-type]


def test_nothing_is_taken_of_a_silent_worker_by_one_that_was_silent_itself() -> None:
    silent = Candidate(1, holder=Holder.SILENT, owner=OTHER)
    peers = (Peer(ME, "all"), Peer(OTHER, "all", 1, live=False))
    assert decide(_view(silent, peers=peers, wary=True)).take == ()
    assert decide(_view(silent, peers=peers)).take == (1,)
    killed = Candidate(1, owner=OTHER)
    assert decide(_view(killed, peers=peers, wary=True)).take == (1,)


def test_what_nobody_takes_is_taken_though_it_is_anothers_share() -> None:
    peers = (Peer(ME, "all", 5), Peer(OTHER, "all", 0))
    held = [Candidate(n, holder=Holder.ME, owner=ME) for n in range(5)]
    assert decide(_view(*held, Candidate(9, free_for=4), peers=peers)).take == ()
    assert decide(_view(*held, Candidate(9, free_for=5.1), peers=peers)).take == (9,)


def test_what_an_operator_wants_elsewhere_goes_and_is_left() -> None:
    mine = Candidate(1, holder=Holder.ME, owner=ME, wanted_by=OTHER)
    peers = (Peer(ME, "all", 1), Peer(OTHER, "all", 9))
    plan = decide(_view(mine, Candidate(2, wanted_by=OTHER, free_for=99), peers=peers))
    assert [gone.phone_id for gone in plan.let_go] == [1]
    assert plan.take == ()
    assert decide(_view(Candidate(3, wanted_by=ME), peers=(Peer(ME, "all", 9), Peer(OTHER, "all")))).take == (3,)
    for cannot in (Peer(OTHER, "all", live=False), Peer(OTHER, "all", draining=True), Peer(OTHER, "org:7")):
        assert decide(_view(mine, peers=(Peer(ME, "all", 1), cannot))).let_go == ()


def test_what_left_goes_at_once_and_says_why() -> None:
    mine = [Candidate(n, holder=Holder.ME, owner=ME, left="it is a baileys phone by now") for n in range(20)]
    plan = decide(_view(*mine, peers=(Peer(ME, "all", 20, draining=True),)))
    assert {gone.reason for gone in plan.let_go} == {"it is a baileys phone by now"}
    assert len(plan.let_go) == 20


def test_a_drained_worker_gives_a_few_at_a_time_to_whoever_can_take_them() -> None:
    mine = [Candidate(n, 3, Holder.ME, ME) for n in range(20)]
    alone = decide(_view(*mine, peers=(Peer(ME, "all", 20, draining=True), Peer(OTHER, "org:4"))))
    assert (alone.let_go, alone.waits) == ((), True)
    peers = (Peer(ME, "all", 20, draining=True), Peer(OTHER, "org:3"))
    assert len(decide(_view(*mine, peers=peers)).let_go) == FEW
    assert len(decide(_view(*mine, peers=peers, leaving=frozenset({0, 1, 2}))).let_go) == FEW - 3
    assert decide(_view(Candidate(99, 3, free_for=99), peers=peers)).take == ()
    assert decide(_view(Candidate(99, 4), Candidate(98, 4, free_for=99), peers=peers)).take == (98,)


def test_a_worker_with_named_phones_takes_them_all_and_never_balances() -> None:
    peers = (Peer(ME, None, 3), Peer(OTHER, None, 0))
    held = [Candidate(n, holder=Holder.ME, owner=ME, held_for=999) for n in range(3)]
    plan = decide(_view(*held, Candidate(7), Candidate(8, holder=Holder.SILENT, owner=OTHER), peers=peers, scope=None))
    assert plan == Plan((7, 8))


def test_a_phone_that_nobody_took_is_not_offered_again() -> None:
    peers = (Peer(ME, "all", 2), Peer(OTHER, "all", 0))
    held = [Candidate(n, holder=Holder.ME, owner=ME, held_for=60 + n, kept=n == 2) for n in (1, 2)]
    assert [gone.phone_id for gone in decide(_view(*held, peers=peers)).let_go] == [1]
    fresh = [Candidate(n, holder=Holder.ME, owner=ME, held_for=59) for n in (1, 2)]
    assert decide(_view(*fresh, peers=peers)).let_go == ()


def test_a_worker_whose_row_is_gone_does_nothing() -> None:
    assert decide(_view(Candidate(1), peers=(Peer(OTHER, "all"),))) == Plan()


def test_scopes_have_names() -> None:
    assert (Scope().name, Scope(7).name) == ("all", "org:7")


def test_a_worker_that_was_silent_itself_decides_nothing_and_does_not_fail() -> None:
    """It looks again after each round of taking, and may see itself silent then, as after a stall."""
    me = UUID(int=1)
    mine, free = Candidate(1, holder=Holder.ME, owner=me), Candidate(2)
    view = View(me, "all", (Peer(me, "all", held=1, live=False),), (mine, free))
    assert decide(view) == Plan()


def test_where_some_have_a_handler_for_messages_they_have_all_phones() -> None:
    without, with_one = Peer(ME, "all", 3, handles=False), Peer(OTHER, "all", 0)
    mine = [Candidate(n, holder=Holder.ME, owner=ME, held_for=SETTLED) for n in range(3)]
    plan = decide(_view(*mine, Candidate(9, free_for=99), peers=(without, with_one)))
    assert (len(plan.let_go), plan.take) == (3, ())
    assert decide(_view(Candidate(9, wanted_by=ME), peers=(without, with_one))).take == (9,)
    for nobody in (replace(with_one, live=False), replace(with_one, draining=True), replace(with_one, handles=False)):
        assert decide(_view(Candidate(9, free_for=99), peers=(replace(without, held=0), nobody))).take == (9,)


def test_a_handler_of_a_worker_for_all_organizations_counts_in_each() -> None:
    without, with_one = Peer(ME, "org:1", handles=False), Peer(OTHER, "all")
    free = Candidate(9, organization_id=1, free_for=99)
    alone, beside = (View(ME, "org:1", peers, (free,)) for peers in ((without,), (without, with_one)))
    assert (decide(alone).take, lacks_handler(alone)) == ((9,), False)
    assert (decide(beside).take, lacks_handler(beside)) == ((), True)
    for other in (replace(with_one, live=False), replace(with_one, scope="org:2"), replace(with_one, scope=None)):
        assert not lacks_handler(replace(beside, peers=(without, other)))


def test_workers_that_begin_at_once_try_for_different_phones() -> None:
    """The fastest had all, as each tried for the same one."""
    peers = tuple(Peer(UUID(int=n + 1), "all") for n in range(4))
    free = tuple(Candidate(n, free_for=7.0) for n in range(100))
    shares = [decide(View(peer.id, "all", peers, free)).take for peer in peers]
    assert sorted(phone_id for share in shares for phone_id in share) == list(range(100))
    overdue = tuple(replace(phone, free_for=8.0) for phone in free)
    assert len(decide(View(peers[0].id, "all", peers, overdue)).take) == 100
