"""The logs of ``tests/data/logs/cases``, the phones that stand beside them, and what is true of each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wa_sessions.actions.watch.logs import holding, key_names
from wa_sessions.logs import files
from wa_sessions.logs.messages import of_senders
from wa_sessions.logs.report import report

FOLDER = Path(__file__).parent.parent / "data" / "logs" / "cases"
FIRST, SECOND = "77051234567", "77770001122"
HELD = {
    "session-77071003330.0": [FIRST],
    "session-200000003000009_1.0": [SECOND],
    "lid-mapping-200000003000009_reverse": [SECOND],
    "session-77071008214.0": [SECOND],
}


def cases() -> dict[str, list[str]]:
    """What may be said of each log, by its name; mostly one thing."""
    lines = (FOLDER / "truth.txt").read_text(encoding="utf-8").splitlines()
    rows = (line.partition(":") for line in lines if not line.startswith("#"))
    return {name: [one.strip() for one in truth.split("|")] for name, _, truth in rows}


def told(*paths: Path) -> dict[str, Any]:
    """What ``logs --json`` says of logs."""
    found = files.read([str(path) for path in paths])
    senders = of_senders(found)
    whose = {sender: holding(key_names(sender.decode()), HELD) for sender in senders}
    return report(found, senders, {1: FIRST, 4: SECOND}, whose).as_dict()


def summary(data: dict[str, Any]) -> str:
    """The same in the words of the truth."""
    return ", ".join(_parts(data))


def _parts(data: dict[str, Any]) -> Iterator[str]:
    for phone in data["phones"]:
        kinds = list(_kinds(phone["library"]))
        yield from [f"{phone['phone']} {kind}" for kind in kinds] or [phone["phone"]]
    none = {kind: count for kind, count in data["unattributed"].items() if isinstance(count, int)}
    for phone in data["phones"]:
        own = phone["bad_mac"]
        if own["counter_lines"]:
            yield f"counter {own['counter_lines']}/{own['max_counter']}/{own['last_counter']}"
    yield from (f"none {kind}" for kind in _kinds(none))
    for name, count in (("undetermined", data["undetermined"]), ("secrets", data["secrets_seen"])):
        if count:
            yield f"{name} {count}"
    if lines := sum(form["lines"] for form in data["unread"]):
        yield f"unread {lines}"


def _kinds(library: dict[str, int]) -> Iterator[str]:
    return (f"{kind} {count}" for kind, count in library.items() if count)
