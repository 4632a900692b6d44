"""The details of events: written and read back the same, and read out of whatever stands in a database."""

import ast
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.events import JSON, details

from wa_sessions.health import event_kinds
from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.events.detail import EventDetail, EventSource, UnknownDetail, json_name
from wa_sessions.health.events.every import BY_KIND, read
from wa_sessions.health.events.keys import ErrorCounted
from wa_sessions.health.events.operators import MoveAsked, Renamed
from wa_sessions.health.events.workers import Taken
from wa_sessions.health.limits import ErrorKind

SOURCES = Path(event_kinds.__file__).parents[1]
PACKAGE = "wa_sessions.health.events"
NAMES = sorted({json_name(field.name) for detail in BY_KIND.values() for field in fields(detail)})
DETAILS = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), JSON | st.sampled_from(["bad_mac", "logs"]))


def test_every_kind_has_one_detail() -> None:
    assert BY_KIND.keys() == set(EventKind)
    assert len({*BY_KIND.values()}) == len(BY_KIND)


def test_every_kind_is_written_by_something() -> None:
    inserts = "".join(_inserts())
    by_sql = {kind.value for kind in EventKind if f"'{kind}'" in inserts}
    assert by_sql == {"history_pruned"}
    assert {detail.__name__ for detail in BY_KIND.values() if detail.KIND not in by_sql} == _told()


def test_nothing_writes_events_but_what_takes_a_detail() -> None:
    assert len(_inserts()) == 2, "record_event and prune_events"
    assert {path.name for path in SOURCES.rglob("*.py") if "_SQL.record_event" in path.read_text("utf-8")} == {
        "health.py"
    }


def _inserts() -> list[str]:
    found = (
        path.read_text(encoding="utf-8").split("INSERT INTO wa_sessions.event ")[1:] for path in SOURCES.rglob("*.sql")
    )
    return [statement[:400] for of_file in found for statement in of_file]


def _told() -> set[str]:
    """The details that the product makes, outside of where they are defined, read and put into words."""
    found: set[str] = set()
    for path in SOURCES.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if PACKAGE in text and path.relative_to(SOURCES).parts[:2] not in {
            ("health", "events"),
            ("health", "alerting.py"),
        }:
            found |= _details_in(ast.parse(text))
    return found


def _details_in(module: ast.Module) -> set[str]:
    """The details that a module names, but for patterns that they are matched with."""
    imports = [node for node in ast.walk(module) if isinstance(node, ast.ImportFrom)]
    names = {a.name for node in imports if (node.module or "").startswith(f"{PACKAGE}.") for a in node.names}
    modules = {a.asname or a.name for node in imports if node.module == PACKAGE for a in node.names}
    matched = {id(part) for node in ast.walk(module) if isinstance(node, ast.MatchClass) for part in ast.walk(node.cls)}
    known = {detail.__name__ for detail in BY_KIND.values()}
    found = set()
    for node in ast.walk(module):
        if id(node) in matched:
            continue
        if isinstance(node, ast.Name) and node.id in names:
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            found.add(node.attr)
    return found & known


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
