"""The documentation is whole: every name that an operator meets is in the reference, and every link leads somewhere."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import event_reference
import pytest
import reference
import settings_table

from wa_sessions.actions.watch.stats import SessionErrorStats
from wa_sessions.errors import ExitCode
from wa_sessions.health.model import Severity
from wa_sessions.health.reconnect import State, Status

ROOT = Path(__file__).parents[2]
REFERENCE = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "reference").glob("*.md")))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"""\]\(([^)\s]+)\)|(?:src|href)=["']([^"']+)["']""")


COMMANDS = dict(reference.commands())
WITH_OPTIONS = {name: command for name, command in COMMANDS.items() if not hasattr(command, "commands")}


def _sources() -> Iterator[str]:
    for path in (ROOT / "wa_sessions").rglob("*"):
        if path.suffix in {".py", ".sql"}:
            yield path.read_text(encoding="utf-8")


def _slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_the_commands_page_is_what_the_commands_say() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run: make docs"


def test_the_table_of_events_is_what_the_code_tells() -> None:
    assert event_reference.PAGE.read_text(encoding="utf-8") == event_reference.page(), "run: make docs"


def test_the_settings_page_is_what_the_program_reads() -> None:
    assert settings_table.PAGE.read_text(encoding="utf-8") == settings_table.page(), "run: make docs"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_an_example(name: str) -> None:
    text, _ = reference.told(COMMANDS[name])
    assert text.endswith(".")
    assert (COMMANDS[name].epilog or "").startswith(f"Example: {name}")


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_every_argument_and_option_has_help(name: str) -> None:
    assert not [parameter.name for parameter in WITH_OPTIONS[name].params if not (parameter.help or "").endswith(".")]


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_every_command_says_what_its_json_has_and_how_it_exits(name: str) -> None:
    _, more = reference.told(WITH_OPTIONS[name])
    paragraphs = more.split("\n\n")
    has_json = any("--json" in parameter.opts for parameter in WITH_OPTIONS[name].params)
    assert sum(paragraph.startswith("JSON: ") for paragraph in paragraphs) == has_json
    assert sum(paragraph.startswith("Exit: ") for paragraph in paragraphs) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_a_docstring_names_no_option_that_is_not_there(name: str) -> None:
    known = {option for other in COMMANDS.values() for parameter in other.params for option in parameter.opts}
    assert set(re.findall(r"`(--[a-z-]+)", "".join(reference.told(COMMANDS[name])))) <= known


def test_every_environment_variable_is_in_the_reference() -> None:
    variables = {name for text in _sources() for name in re.findall(r"_?WA_SESSIONS_[A-Z_]+", text)}
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


def test_the_tutorial_shows_the_schema_that_there_is() -> None:
    newest = len(list((ROOT / "wa_sessions" / "db" / "migrations").glob("*.sql")))
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    assert re.findall(r"^schema +(.*)$", tutorial, re.MULTILINE) == [f"{newest} of {newest}, up to date"]


def test_every_event_with_a_plain_name_is_in_the_reference() -> None:
    kinds = {name for text in _sources() for name in re.findall(r"""event=\"(\w+)\"""", text)}
    assert len(kinds) > 20
    assert not [name for name in kinds if f"`{name}`" not in REFERENCE]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_no_command_and_no_option_that_is_not_there(page: Path) -> None:
    wrong = []
    for line in re.findall(r"`(wa-sessions [a-z][^`]*)`", page.read_text(encoding="utf-8")):
        words = line.split()
        command = COMMANDS.get(" ".join(words[:3])) or COMMANDS.get(" ".join(words[:2]))
        options = {option for parameter in command.params for option in parameter.opts} if command else set()
        wrong += [] if command and {word for word in words if word.startswith("--")} <= options | {"--help"} else [line]
    assert not wrong


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
