"""The details of events: written and read back the same, and read out of whatever stands in a database."""

from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.events import JSON, details

from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.events.detail import EventDetail, EventSource, UnknownDetail, json_name
from wa_sessions.health.events.every import BY_KIND, read
from wa_sessions.health.events.keys import ErrorCounted
from wa_sessions.health.events.operators import MoveAsked, Renamed
from wa_sessions.health.events.workers import Taken
from wa_sessions.health.limits import ErrorKind

NAMES = sorted({json_name(field.name) for detail in BY_KIND.values() for field in fields(detail)})
DETAILS = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), JSON | st.sampled_from(["bad_mac", "logs"]))


def test_every_kind_has_one_detail() -> None:
    assert BY_KIND.keys() == set(EventKind)
    assert len({*BY_KIND.values()}) == len(BY_KIND)


@given(details())
def test_what_is_written_is_read_back(detail: EventDetail) -> None:
    assert read(detail.kind, detail.as_json()) == detail


@given(st.sampled_from([*EventKind, "not_yet_known", ""]), DETAILS)
def test_whatever_stands_in_the_history_is_read(kind: str, values: dict[str, Any]) -> None:
    found = read(kind, values)
    assert found.kind == kind
    if isinstance(found, EventDetail):
        hints = get_type_hints(type(found))
        for field in fields(found):
            value, (wanted, *_) = getattr(found, field.name), get_args(hints[field.name])
            assert value is None or isinstance(value, getattr(wanted, "__origin__", wanted))


def test_what_is_missing_and_what_is_not_known() -> None:
    assert read("error_counted", {"error_kind": "frozen", "count": "2", "limit": 3.0, "colour": "red"}) == ErrorCounted(
        None, None, 3
    )
    assert read("message_seen", {"count": 1}) == UnknownDetail("message_seen")


@pytest.mark.parametrize(
    ("detail", "json"),
    [
        (
            ErrorCounted(ErrorKind.BAD_MAC, 1, 3, sender="9.0", source=EventSource.LOGS),
            {"error_kind": "bad_mac", "count": 1, "limit": 3, "sender": "9.0", "source": "logs"},
        ),
        (Renamed("ann", None, "Desk"), {"actor": "ann", "from": None, "to": "Desk"}),
        (MoveAsked("ann", None, "wa1/7"), {"actor": "ann", "from": None, "to": "wa1/7"}),
        (Taken("wa1/7", killed=True, from_="wa2/8"), {"worker": "wa1/7", "from": "wa2/8", "killed": True}),
    ],
)
def test_what_is_not_there_is_not_written_but_where_null_says_something(detail: EventDetail, json: Any) -> None:
    assert detail.as_json() == json
