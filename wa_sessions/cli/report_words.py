"""What a report says of its figures, in words and small charts: the same in the terminal and on the page."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from wa_sessions.cli.times import day
from wa_sessions.health.limits import ErrorKind
from wa_sessions.wording.numbers import lasted

if TYPE_CHECKING:
    from wa_sessions.actions.watch.report import Report

_WORDS = {kind.value: kind.label for kind in ErrorKind} | {"session": "of sessions", "sender_key": "of sender keys"}
_WORDS |= {"collection": "of collections"}
_BARS = "▁▂▃▄▅▆▇█"


def percent(share: float | None) -> str:
    """A share, rounded down: only all of it is 100 %.

    >>> percent(0.99999), percent(1.0), percent(None)
    ('99.99 %', '100 %', '-')
    """
    if share is None:
        return "-"
    return "100 %" if share >= 1 else f"{int(share * 10_000) / 100:.2f} %"


def sparkline(values: Sequence[float]) -> str:
    """A small chart; nothing is a dot.

    >>> sparkline([0, 1, 4, 8])
    '·▁▄█'
    """
    most = max(values, default=0)
    return "".join(_BARS[max(0, round(value / most * len(_BARS)) - 1)] if value else "·" for value in values)


def parts(named: Mapping[str, int]) -> str:
    """Those that are not 0, the most frequent first, in words.

    >>> parts({"bad_mac": 2, "login_refused": 3, "bad_decrypt": 0})
    '3 login refused, 2 Bad MAC'
    """
    found = sorted(((number, name) for name, number in named.items() if number), key=lambda one: (-one[0], one[1]))
    return ", ".join(f"{number} {_WORDS.get(name, name.replace('_', ' '))}" for number, name in found)


def notes(found: "Report") -> list[str]:
    """What limits the figures."""
    told = []
    if found.kept_since:
        at = found.kept_since.astimezone(found.window.until.tzinfo)
        told.append(f"the history up to {day(at)} was pruned: the figures begin there")
    unseen = sum(1 for one in found.phones if not one.total.observed)
    if unseen:
        told.append(f"nobody observed {unseen} of {len(found.phones)} phones: their availability is not known")
    return told


def each_step(found: "Report") -> str:
    """How long a step is, in words."""
    return {"24 h": "a day", "1 h": "an hour", "1 min": "a minute"}.get(
        name := lasted(found.window.size.total_seconds()), name
    )
