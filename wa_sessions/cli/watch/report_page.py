"""The report as one HTML page. jinja2 escapes all that goes into it: names of phones come from anybody."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from wa_sessions.cli import terminal
from wa_sessions.cli.report_words import each_step, notes, parts, percent
from wa_sessions.cli.times import day

if TYPE_CHECKING:
    from wa_sessions.actions.watch.report import PhoneReport, Report
    from wa_sessions.health.statistics import Figures

GAP = 1.0  # between two bars, of 10
_COLUMNS = ("Up", "Seen", "Bad MAC", "Bad Decrypt", "Repairs", "Closes", "QR", "Recovered", "Lost", "Ended")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bar, in percent of the chart's height from its top."""

    colour: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One step of a chart."""

    x: float
    width: float
    title: str
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class Key:
    """What a colour means, and its value in a step."""

    name: str
    colour: str
    value: "Callable[[Figures], float]"


@dataclass(frozen=True, slots=True)
class Chart:
    """Stacked bars. ``most`` is the highest, 0 where all are as high."""

    label: str
    keys: Sequence[Key]
    bars: list[Bar]
    most: int = 0
    wide: bool = False
    height: float = 100

    @property
    def width(self) -> float:
        return 10.0 * max(len(self.bars), 1)


_STATES = (
    Key("connected", "good", lambda step: step.up),
    Key("not connected", "bad", lambda step: step.observed - step.up),
    Key("not observed", "unseen", lambda step: step.seconds - step.observed),
)
_ERRORS = (
    Key("Bad MAC", "bad", lambda step: step.errors["bad_mac"]),
    Key("Bad Decrypt", "warn", lambda step: step.errors["bad_decrypt"]),
)
_MESSAGES = (
    Key("recovered", "good", lambda step: step.messages["recovered"]),
    Key("lost", "bad", lambda step: step.messages["lost"]),
)
_MENDED = (
    Key("repairs", "note", lambda step: sum(step.repairs.values())),
    Key("closes", "bad", lambda step: sum(step.closes.values())),
    Key("QR needed", "warn", lambda step: step.pairings["needed"]),
)
_ENDED = (Key("connections ended", "note", lambda step: sum(step.ends.values())),)


def page(found: "Report", since: str) -> str:
    """The whole page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("wa_sessions", "cli/watch"), autoescape=True, undefined=StrictUndefined
    )
    titles = [_title(start, found) for start in found.window.starts]
    steps = found.steps
    return templates.get_template("report.html").render(
        since=day(found.window.since),
        until=day(found.window.until),
        zone=found.window.until.tzname(),
        notes=[note[0].upper() + note[1:] for note in notes(found)],
        tiles=_tiles(found.total),
        step=each_step(found),
        charts=[
            _shares("Connection", titles, steps, wide=True),
            _stacked("Errors", _ERRORS, titles, steps),
            _stacked("Messages sent again", _MESSAGES, titles, steps),
            _stacked("Repairs, closes, QRs", _MENDED, titles, steps),
            _stacked("Connections ended", _ENDED, titles, steps),
        ],
        axis=(titles[0], titles[-1]),
        columns=_COLUMNS,
        phones=[_phone(one, titles) for one in found.phones],
        version=version("wa-sessions"),
        command=f"wa-sessions report --since {since} --html FILE",
    )


def _title(start: datetime, found: "Report") -> str:
    hours = found.window.size.total_seconds() < 86_400
    return f"{start:%a} {start.day} {start:%b %H:%M}" if hours else f"{start:%a} {start.day} {start:%b}"


def _shares(label: str, titles: Sequence[str], steps: "Sequence[Figures]", *, wide: bool = False) -> Chart:
    thinnest = 3 if wide else 8  # percent of a column: the shortest time down can be seen
    bars = []
    for n, (title, step) in enumerate(zip(titles, steps, strict=True)):
        heights = [max(key.value(step), 0) / (step.seconds or 1) * 100 for key in _STATES]
        up, down, _ = heights
        down = max(down, thinnest) if down else 0
        up = min(up, 100 - down)
        told = f"{title}: {percent(step.availability)} up, {percent(step.coverage)} observed"
        bars.append(_bar(n, told, [("good", up), ("bad", down), ("unseen", max(100 - up - down, 0))]))
    return Chart(label, _STATES, bars, wide=wide)


def _stacked(label: str, keys: Sequence[Key], titles: Sequence[str], steps: "Sequence[Figures]") -> Chart:
    values = [[key.value(step) for key in keys] for step in steps]
    most = max(map(sum, values), default=0)
    bars = []
    for n, (title, found) in enumerate(zip(titles, values, strict=True)):
        told = ", ".join(f"{number:g} {key.name}" for key, number in zip(keys, found, strict=True))
        heights = [(key.colour, number / (most or 1) * 100) for key, number in zip(keys, found, strict=True)]
        bars.append(_bar(n, f"{title}: {told}", heights))
    return Chart(label, keys, bars, int(most))


def _bar(number: int, title: str, heights: Sequence[tuple[str, float]]) -> Bar:
    stacked, top = [], 100.0
    for colour, height in heights:
        if height:
            top -= height
            stacked.append(Part(colour, round(top, 2), round(height, 2)))
    return Bar(number * 10 + GAP / 2, 10 - GAP, title, stacked)


def _tiles(all_: "Figures") -> list[dict[str, str]]:
    closes, lost = sum(all_.closes.values()), all_.messages["lost"]
    told = (
        ("Up", percent(all_.availability), f"of the {percent(all_.coverage)} observed", ""),
        ("Errors", sum(all_.errors.values()), parts(all_.errors), "warn"),
        ("Repairs", sum(all_.repairs.values()), parts(all_.repairs), ""),
        ("Closes", closes, parts(all_.closes), "bad"),
        ("QR needed", all_.pairings["needed"], f"{all_.pairings['scanned']} scanned", "warn"),
        ("Messages recovered", all_.messages["recovered"], "a later copy decrypted", ""),
        ("Messages lost", lost, "no copy decrypted", "bad"),
        ("Connections ended", sum(all_.ends.values()), parts(all_.ends), ""),
    )
    return [
        {"name": name, "value": str(value), "more": more, "colour": colour if value else ""}
        for name, value, more, colour in told
    ]


def _phone(one: "PhoneReport", titles: Sequence[str]) -> dict[str, Any]:
    all_ = one.total
    name = terminal.plain(one.phone.display_name or "") if one.phone else "removed"
    values: list[tuple[str, int, bool]] = [
        ("Bad MAC", all_.errors["bad_mac"], False),
        ("Bad Decrypt", all_.errors["bad_decrypt"], False),
        ("Repairs", sum(all_.repairs.values()), False),
        ("Closes", sum(all_.closes.values()), True),
        ("QR", all_.pairings["needed"], False),
        ("Recovered", all_.messages["recovered"], False),
        ("Lost", all_.messages["lost"], True),
        ("Ended", sum(all_.ends.values()), False),
    ]
    shares = [("Up", percent(all_.availability)), ("Seen", f"{all_.coverage * 100:.0f} %")]
    return {
        "number": terminal.plain(one.number),
        "about": f"{name}, org {one.organization_id}" if name else f"org {one.organization_id}",
        "strip": _shares(f"Connection of {one.number}", titles, one.steps),
        "errors": _stacked(f"Errors of {one.number}", _ERRORS, titles, one.steps),
        "cells": [{"name": name, "text": text, "look": ""} for name, text in shares]
        + [
            {"name": name, "text": str(number), "look": "zero" if not number else "hot" if hot else ""}
            for name, number, hot in values
        ],
    }
