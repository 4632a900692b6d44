"""What follows when a connection has ended."""

from datetime import UTC, datetime

import pytest

from wa_sessions.health.reconnect import ComeBack, End, Next, State, Status, StayDown, WaitForStore, after

EXPIRY = datetime(2026, 9, 22, tzinfo=UTC)

FOLLOWS: dict[End, Next] = {
    End.REPLACED: StayDown(State.REPLACED, Status.DISCONNECTED),
    End.LOGGED_OUT: StayDown(State.LOGGED_OUT, Status.LOGGED_OUT),
    End.OUTDATED: StayDown(State.OUTDATED, Status.DISCONNECTED),
    End.LOGIN_REFUSED: StayDown(State.LOGIN_REFUSED, Status.DISCONNECTED),
    End.BANNED: StayDown(State.BANNED, Status.DISCONNECTED),
    End.STORE_DOWN: WaitForStore(State.WAITING_FOR_STORE, Status.RECONNECTING),
    End.UNREACHABLE: ComeBack(State.UNREACHABLE, Status.RECONNECTING),
    End.CRASHED: ComeBack(State.CRASHED, Status.RECONNECTING),
}


@pytest.mark.parametrize("end", End)
def test_what_follows(end: End) -> None:
    assert after(end) == FOLLOWS[end]


@pytest.mark.parametrize("end", [end for end in End if end is not End.BANNED])
def test_the_expiry_of_a_ban_concerns_bans_alone(end: End) -> None:
    assert after(end, ban_expires_at=EXPIRY) == FOLLOWS[end]


def test_a_ban_that_expires_is_waited_out() -> None:
    expected = ComeBack(State.BANNED, Status.DISCONNECTED, not_before=EXPIRY)
    assert after(End.BANNED, ban_expires_at=EXPIRY) == expected


@pytest.mark.parametrize("expiry", [None, EXPIRY])
@pytest.mark.parametrize("end", [End.REPLACED, End.LOGGED_OUT, End.OUTDATED, End.LOGIN_REFUSED])
def test_nothing_connects_again_by_itself_after(end: End, expiry: datetime | None) -> None:
    assert isinstance(after(end, ban_expires_at=expiry), StayDown)
