"""What is said of workers: any name that is shown means that worker alone, and states follow silence."""

from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.health.workers import Signs, WorkerState, state_of


@given(st.floats(0, 1e6), st.none() | st.floats(3, 600), st.integers(0, 9), st.booleans(), st.booleans())
def test_who_lives(silent: float, lease: float | None, phones: int, draining: bool, killed: bool) -> None:
    state = state_of(Signs(silent, lease, phones, draining, killed))
    assert state.lives == (not killed and silent < (lease or 30.0))
    assert state is not WorkerState.STANDING_BY or phones == 0
    later = state_of(Signs(silent * 2 + 1, lease, phones, draining, killed))
    assert state.lives or not later.lives, "silence brings nobody back to life"
