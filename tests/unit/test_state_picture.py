"""The picture of the states is what the machine does."""

import state_picture

from wa_sessions.health.reconnect import State


def test_the_document_has_the_picture_that_the_machine_gives() -> None:
    assert state_picture.PAGE.read_text(encoding="utf-8") == state_picture.page(), "run: make docs"


def test_it_reaches_every_state_that_the_machine_knows() -> None:
    reached = {target for _, target in state_picture.edges()}
    elsewhere = {State.IDLE, State.FAULTED}  # before the first start, the policy's
    assert reached == set(State) - elsewhere


def test_every_state_has_a_way_on() -> None:
    edges = state_picture.edges()
    assert {source for source, _ in edges} >= {target for _, target in edges} - {State.STOPPED}
