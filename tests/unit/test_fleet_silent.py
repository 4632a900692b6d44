"""What a worker decides that finds its own row silent, as after a stall while it took phones."""

from uuid import uuid4

import pytest

from wa_sessions.worker.fleet import Candidate, Holder, Peer, Plan, View, decide


@pytest.mark.xfail(raises=KeyError, reason="quotas() knows only workers that live, and decide() asks for its own")
def test_a_worker_that_was_silent_itself_decides_nothing_and_does_not_fail() -> None:
    """``FleetWatch._act`` looks again after each round of taking, and may see itself silent then: exit 1."""
    me = uuid4()
    mine, free = Candidate(1, holder=Holder.ME, owner=me), Candidate(2)
    view = View(me, "all", (Peer(me, "all", held=1, live=False),), (mine, free))
    assert decide(view) == Plan()
