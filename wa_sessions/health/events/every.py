"""All kinds of event together, and how one is read out of the history."""

from collections.abc import Mapping
from typing import Any, get_args

from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.events.connection import ConnectionDetail
from wa_sessions.health.events.detail import UnknownDetail, from_json
from wa_sessions.health.events.keys import KeysDetail
from wa_sessions.health.events.operators import OperatorDetail
from wa_sessions.health.events.workers import WorkerDetail

Detail = ConnectionDetail | KeysDetail | OperatorDetail | WorkerDetail
"""What is told of an event, of any kind that this program knows."""

BY_KIND: Mapping[EventKind, type[Detail]] = {detail.KIND: detail for detail in get_args(Detail)}


def read(kind: str, values: Mapping[str, Any]) -> Detail | UnknownDetail:
    """What stands in the history, written by whatever version. Never raises."""
    known = BY_KIND.get(EventKind(kind)) if kind in set(EventKind) else None
    return from_json(known, values) if known else UnknownDetail(kind)
