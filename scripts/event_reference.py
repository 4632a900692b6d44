"""Writes the table of events into docs/reference/history.md, from what is told of each kind."""

import inspect
from dataclasses import fields
from pathlib import Path

from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.events.detail import EventDetail, json_name
from wa_sessions.health.events.every import BY_KIND

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "history.md"
BEGIN, END = "<!-- events: begin, by scripts/event_reference.py -->", "<!-- events: end -->"


def page() -> str:
    """The page with the table as it is now."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


def table() -> str:
    """Each kind of event in a row."""
    return "\n".join(["| kind | when | detail |", "| --- | --- | --- |", *(_row(BY_KIND[kind]) for kind in EventKind)])


def _row(detail: type[EventDetail]) -> str:
    told = " ".join(inspect.cleandoc(detail.__doc__ or "").split()).removesuffix(".")
    names = ", ".join(f"`{json_name(field.name)}`" for field in fields(detail))
    return f"| `{detail.KIND}` | {told.replace('|', chr(92) + '|')} | {names} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
