"""The documentation is whole: every name that an operator meets is in the reference, and every link leads somewhere."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer.main

from wa_sessions.actions.stats import SessionErrorStats
from wa_sessions.cli.app import app
from wa_sessions.errors import ExitCode
from wa_sessions.health.model import Severity
from wa_sessions.health.reconnect import State, Status

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"""\]\(([^)\s]+)\)|(?:src|href)=["']([^"']+)["']""")


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    for word, below in getattr(command, "commands", {}).items():
        if hasattr(below, "commands"):
            yield from _commands(below, f"{name} {word}")
        else:
            yield f"{name} {word}", below


COMMANDS = dict(_commands(typer.main.get_command(app), "wa-sessions"))


def _section(command: str) -> str:
    return REFERENCE.partition(f"### `{command}`\n")[2].partition("\n##")[0]


def _sources() -> Iterator[str]:
    for path in (ROOT / "wa_sessions").rglob("*"):
        if path.suffix in {".py", ".sql"}:
            yield path.read_text(encoding="utf-8")


def _slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_each_of_its_options_is_in_the_reference(command: str) -> None:
    section = _section(command)
    assert section, f"no section {command}"
    options = [option for parameter in COMMANDS[command].params for option in parameter.opts if option.startswith("--")]
    missing = [option for option in options if option != "--help" and not re.search(rf"{option}(?![\w-])", section)]
    assert not missing


def test_the_reference_has_no_command_that_is_not_there() -> None:
    assert set(re.findall(r"^### `(wa-sessions [^`]+)`$", REFERENCE, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_has_no_option_that_is_not_there(command: str) -> None:
    known = {option for other in COMMANDS.values() for parameter in other.params for option in parameter.opts}
    assert set(re.findall(r"`(--[a-z-]+)", _section(command))) <= known


def test_every_environment_variable_is_in_the_reference() -> None:
    variables = {name for text in _sources() for name in re.findall(r"WA_SESSIONS_[A-Z_]+", text)}
    assert variables
    assert not [name for name in variables if f"`{name}`" not in REFERENCE]


@pytest.mark.parametrize("name", [*State, *Status, *Severity])
def test_every_state_status_and_severity_is_in_the_reference(name: str) -> None:
    assert f"`{name}`" in REFERENCE


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_is_in_the_reference(code: ExitCode) -> None:
    table = REFERENCE.partition("## Exit codes\n")[2].partition("\n##")[0]
    assert f"| {code.value} | {code.name.lower().replace('_', ' ')} |" in table


@pytest.mark.parametrize("field", [field.name for field in fields(SessionErrorStats)])
def test_every_field_of_stats_is_in_the_reference(field: str) -> None:
    assert f"`{field}`" in REFERENCE


def test_every_table_is_in_the_reference() -> None:
    tables = {name for text in _sources() for name in re.findall(r"CREATE TABLE wa_sessions\.(\w+)", text)}
    assert tables
    assert not [name for name in tables if f"| `{name}` |" not in REFERENCE]


def test_every_event_with_a_plain_name_is_in_the_reference() -> None:
    calls = re.compile(r"""(?:note\(|record_event\([^"]*|\.event\(conn, |event=)"(\w+)\"""")
    kinds = {name for text in _sources() for name in calls.findall(text)}
    assert len(kinds) > 20
    assert not [name for name in kinds if f"`{name}`" not in REFERENCE]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for found in LINK.finditer(page.read_text(encoding="utf-8")):
        link = found[1] or found[2]
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if not path.exists():
            broken.append(link)
        elif anchor and path.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            broken += [] if anchor in map(_slug, headings) else [link]
    assert not broken
