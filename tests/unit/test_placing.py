"""Which host a client goes into, and who is found to crash hosts."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.worker.hosts.placing import ALONE_AFTER, FEW, QUIET, HostView, Suspects


@dataclass
class Hosts:
    """Hosts as the pool keeps them: phones come back at once after a crash, those set aside never."""

    suspects: Suspects
    phones: dict[int, set[int]] = field(default_factory=dict)
    starting: set[int] = field(default_factory=set)
    set_aside: set[int] = field(default_factory=set)
    named: set[int] = field(default_factory=set)
    now: float = 1_000.0
    made: int = 0

    def open(self, phone: int) -> None:
        views = [HostView(host, frozenset(phones)) for host, phones in self.phones.items()]
        host = self.suspects.place(views, phone, self.now)
        if host is None:
            self.made += 1
            host = self.made
        self.suspects.placed(phone, self.now)
        self.phones.setdefault(host, set()).add(phone)
        assert len(self.phones[host]) <= min(self.suspects.limit(one, self.now) for one in self.phones[host])

    def host_of(self, phone: int) -> int:
        return next(host for host, phones in self.phones.items() if phone in phones)

    def crash(self, phone: int, starting: frozenset[int] = frozenset()) -> None:
        gone = self.phones.pop(self.host_of(phone))
        verdict = self.suspects.crashed(gone, starting & gone, self.now)
        self.set_aside |= verdict.set_aside
        self.named |= verdict.named
        self.now += 5
        for one in sorted(gone - verdict.set_aside):
            self.open(one)


def filled(count: int, sessions_per_host: int = 25) -> Hosts:
    hosts = Hosts(Suspects(sessions_per_host))
    for phone in range(count):
        hosts.open(phone)
    return hosts


@given(st.integers(1, 120), st.integers(1, 30))
def test_hosts_are_filled_one_after_another(count: int, sessions_per_host: int) -> None:
    hosts = filled(count, sessions_per_host)
    assert len(hosts.phones) == -(-count // sessions_per_host)
    assert all(0 < len(phones) <= sessions_per_host for phones in hosts.phones.values())


@given(st.integers(0, 24))
def test_one_culprit_among_25_is_found_in_six_crashes(culprit: int) -> None:
    hosts, crashes = filled(25), 0
    while culprit not in hosts.set_aside:
        hosts.crash(culprit)
        crashes += 1
    assert crashes == 2 * ALONE_AFTER
    assert hosts.set_aside == {culprit}


@given(st.data(), st.integers(1, 30), st.integers(1, 4))
def test_culprits_are_found_and_innocents_never_set_aside(
    data: st.DataObject, sessions_per_host: int, culprits: int
) -> None:
    hosts = filled(50 + culprits, sessions_per_host)
    guilty = data.draw(st.sets(st.sampled_from(range(50 + culprits)), min_size=culprits, max_size=culprits))
    crashes = 0
    while guilty - hosts.set_aside:
        one = data.draw(st.sampled_from(sorted(guilty - hosts.set_aside)))
        company = sorted(hosts.phones[hosts.host_of(one)])
        starting = data.draw(st.frozensets(st.sampled_from(company), max_size=1))
        hosts.crash(one, starting)
        crashes += 1
        assert crashes <= 2 * ALONE_AFTER * culprits
    assert hosts.set_aside == guilty
    assert sorted(phone for phones in hosts.phones.values() for phone in phones) == sorted(
        set(range(50 + culprits)) - guilty
    )


def test_a_crash_halves_nothing_at_first_then_fives_then_each_alone() -> None:
    hosts, shared = filled(25), []
    for _ in range(3):
        hosts.crash(0)
        shared.append(len(hosts.phones[hosts.host_of(0)]))
    assert shared == [25, FEW, 1]
    assert max(len(phones) for phones in hosts.phones.values()) == FEW


def test_who_was_being_started_goes_alone_at_once_and_is_named() -> None:
    hosts = filled(25)
    hosts.crash(7, frozenset({7}))
    assert hosts.phones[hosts.host_of(7)] == {7}
    assert hosts.named == {7}
    assert len(hosts.phones[hosts.host_of(6)]) == 24


@pytest.mark.parametrize("crashes", [1, 2])
def test_ten_quiet_minutes_wipe_what_was_suspected(crashes: int) -> None:
    hosts = filled(25)
    for _ in range(crashes):
        hosts.crash(0)
    hosts.now += QUIET
    assert hosts.suspects.limit(0, hosts.now) == 25
    hosts.crash(0)
    assert len(hosts.phones[hosts.host_of(0)]) > FEW


def test_being_away_is_no_quiet_time_for_one_that_was_set_aside() -> None:
    hosts = filled(25)
    while 0 not in hosts.set_aside:
        hosts.crash(0)
    hosts.now += 100 * QUIET
    assert hosts.suspects.limit(0, hosts.now) == 1
    hosts.open(0)
    assert hosts.phones[hosts.host_of(0)] == {0}
    hosts.now += QUIET
    assert hosts.suspects.limit(0, hosts.now) == 25


def _view(**more: object) -> HostView:
    return HostView(1, frozenset({1, 2}), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "joins"),
    [
        (_view(), True),
        (_view(reserved=True), False),
        (_view(starting_since=98.0), True),
        (_view(starting_since=94.0), False),
    ],
)
def test_a_host_that_is_reserved_or_starts_for_long_takes_nobody(host: HostView, joins: bool) -> None:
    assert Suspects(25).place([host], 9, 100.0) == (1 if joins else None)


def test_where_no_start_comes_to_an_end_no_third_host_is_made() -> None:
    stuck = [HostView(number, frozenset({number}), starting_since=0.0) for number in (1, 2)]
    assert Suspects(25).place(stuck[:1], 9, 100.0) is None
    assert Suspects(25).place(stuck, 9, 100.0) == 1


def test_the_fullest_host_is_chosen() -> None:
    hosts = [HostView(number, frozenset(range(number * 100, number * 100 + size))) for number, size in ((1, 3), (2, 9))]
    assert Suspects(25).place(hosts, 1, 0.0) == 2


@given(st.lists(st.integers(1, 25), max_size=8))
def test_a_host_is_given_up_only_if_others_have_room_for_all_of_it(sizes: list[int]) -> None:
    views = [HostView(n, frozenset(range(n * 100, n * 100 + size))) for n, size in enumerate(sizes)]
    given_up = Suspects(25).superfluous(views, 0.0)
    if given_up is None:
        return
    room = sum(25 - len(view.phones) for view in views if view.host != given_up)
    assert sizes[given_up] == min(sizes)
    assert sizes[given_up] <= min(room, 25 // 3)


def _nothing(_hosts: Hosts) -> None:
    pass


def _wipe(hosts: Hosts) -> None:
    hosts.now += QUIET


@pytest.mark.parametrize(("meanwhile", "given_up"), [(_nothing, False), (_wipe, True)])
def test_small_hosts_of_suspects_are_given_up_when_they_were_quiet(
    meanwhile: Callable[[Hosts], None], given_up: bool
) -> None:
    hosts = filled(25)
    for _ in range(3):
        hosts.crash(0)
    meanwhile(hosts)
    views = [HostView(host, frozenset(phones)) for host, phones in hosts.phones.items()]
    assert (hosts.suspects.superfluous(views, hosts.now) is not None) is given_up
