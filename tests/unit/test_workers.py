"""What is said of workers: any name that is shown means that worker alone, and states follow silence."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.health.workers import Signs, WorkerState, meant, names, serves, state_of

known = st.lists(
    st.tuples(st.uuids(), st.sampled_from(["msg1", "msg2", "pod#a", "10"]), st.integers(1, 4)),
    max_size=6,
    unique_by=lambda one: one[0].hex[:8],
)


@given(known)
def test_a_name_means_the_worker_that_it_is_shown_for(workers: list[tuple[UUID, str, int]]) -> None:
    for id_, name in names(workers).items():
        assert meant(name, workers) == [id_]
        assert meant(str(id_), workers) == [id_]


@given(known, st.text(max_size=12))
def test_whatever_is_typed_means_workers_that_are_there(workers: list[tuple[UUID, str, int]], word: str) -> None:
    assert set(meant(word, workers)) <= {id_ for id_, _, _ in workers}


@given(st.floats(0, 1e6), st.none() | st.floats(3, 600), st.integers(0, 9), st.booleans(), st.booleans())
def test_who_lives(silent: float, lease: float | None, phones: int, draining: bool, killed: bool) -> None:
    state = state_of(Signs(silent, lease, phones, draining, killed))
    assert state.lives == (not killed and silent < (lease or 30.0))
    assert state is not WorkerState.STANDING_BY or phones == 0
    later = state_of(Signs(silent * 2 + 1, lease, phones, draining, killed))
    assert state.lives or not later.lives, "silence brings nobody back to life"


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_worker_of_one_organization(mine: int, other: int) -> None:
    assert serves(f"org:{mine}", other) == (mine == other)
