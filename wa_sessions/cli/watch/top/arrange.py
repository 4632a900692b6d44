"""PURE: which phones the view shows, and in which order."""

import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

from wa_sessions.actions.watch.top import Row
from wa_sessions.cli.watch.stats import place

_ORGANIZATION = re.compile(r"\borg *([0-9]{1,10})\b", re.IGNORECASE)


class Order(StrEnum):
    """What the rows are sorted by, in the order in which the key goes through them."""

    HEALTH = "health"
    ERRORS = "errors"
    LAST_ERROR = "last error"
    STATUS = "status"
    PHONE = "phone"
    NAME = "name"
    INBOX = "inbox"

    @property
    def following(self) -> "Order":
        """The next one; after the last the first."""
        orders = list(Order)
        return orders[(orders.index(self) + 1) % len(orders)]


def arranged(
    rows: Iterable[Row], order: Order, *, backwards: bool = False, words: str = "", unhealthy: bool = False
) -> list[Row]:
    """The rows that are asked for, sorted; equal ones by organization and number.

    Every one of ``words`` has to stand somewhere in a row, in either case; ``org 7`` is that organization alone.
    ``unhealthy``: only those at which somebody should look, as ``sessions --unhealthy`` has them.
    """
    organizations = {int(number) for number in _ORGANIZATION.findall(words)}
    wanted = _ORGANIZATION.sub(" ", words).casefold().split()
    kept = [
        row
        for row in rows
        if (row.session.unhealthy or not unhealthy)
        and (not organizations or row.stats.organization_id in organizations)
        and _has(row, wanted)
    ]
    kept.sort(key=lambda row: (row.stats.organization_id, row.stats.phone))
    kept.sort(key=_KEYS[order], reverse=backwards)
    return kept


def _has(row: Row, wanted: list[str]) -> bool:
    stats = row.stats
    texts = (
        stats.phone,
        stats.display_name or "",
        stats.connection_type,
        stats.status,
        row.condition,
        row.standing,
        place(stats.worker) if stats.worker else "",
    )
    text = "\n".join(texts).casefold()
    return all(word in text for word in wanted)


def _health(row: Row) -> Any:
    """The worst first; among equals who is nearer to the limit, and where more goes wrong."""
    return *row.session.urgency, -sum(row.errors)


def _errors(row: Row) -> Any:
    return -sum(row.errors), *_health(row)


def _last_error(row: Row) -> Any:
    at = row.stats.last_error_at
    return -at.timestamp() if at else 0.0


_KEYS: dict[Order, Callable[[Row], Any]] = {
    Order.HEALTH: _health,
    Order.ERRORS: _errors,
    Order.LAST_ERROR: _last_error,
    Order.STATUS: lambda row: (row.condition, row.stats.status),
    Order.PHONE: lambda row: row.stats.phone,
    Order.INBOX: lambda row: (-(row.stats.inbox_oldest_seconds or 0), -row.stats.inbox_waiting, -row.stats.inbox_dead),
    Order.NAME: lambda row: (row.stats.organization_id, (row.stats.display_name or "").casefold()),
}
