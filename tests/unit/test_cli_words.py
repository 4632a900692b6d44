"""The command line without a database: help, usage, what is imported when, and how things are drawn."""

import doctest
import importlib
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from wa_sessions import cli
from wa_sessions.cli import app, terminal
from wa_sessions.cli.app import root
from wa_sessions.cli.commands import COMMANDS as ENTRIES
from wa_sessions.cli.commands import GROUPS
from wa_sessions.cli.sessions.qr_code import drawn
from wa_sessions.cli.table import Column, table
from wa_sessions.cli.times import when

COMMANDS = tuple(name.removeprefix("wa-sessions ") for name, _ in reference.commands())
HISTORY = {"wa_sessions.health.events.every", "wa_sessions.health.events.operators"}
"""Sixty dataclasses, which take 30 ms to make: for commands that tell of the history."""

HEAVY = HISTORY | {"psycopg", "rich", "neonize", "phonenumbers", "asyncio", "pydantic", "segno", "pyrage", "textual"}
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: Capture) -> None:
    assert cli.execute([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Example: wa-sessions {command}" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


@pytest.mark.parametrize("name", ENTRIES)
def test_the_list_says_of_a_command_what_its_own_help_begins_with(name: str) -> None:
    _, _, summary = ENTRIES[name]
    assert root().commands[name].get_short_help_str(60) == summary
    assert not summary.endswith("...")


def test_the_help_has_every_command_once_under_the_heading_of_its_group(capsys: Capture) -> None:
    assert cli.execute(["--help"]) == 0

    headed: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        if re.fullmatch(r"[A-Z][a-z]+:", line):
            headed[line[:-1]] = []
        elif headed and (command := re.match(r"  ([a-z-]+)  ", line)):
            headed[list(headed)[-1]].append(command[1])
    del headed["Options"]
    assert headed == {heading: list(group) for heading, group in GROUPS.items()}
    assert list(headed) == ["Sessions", "Watch", "Repair", "Move", "Setup"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stats"], "Usage"),
        (["stats", ""], "no phone"),
        (["stats", "8 705 123 45 67"], "national"),
        (["stats", "#99999999999999999999"], "no phone id"),
        (["stats", "77051234567", "--org", "one"], "'one'"),
        (["stats", "77051234567", "-o", "xml"], "'xml'"),
        (["stats", "77051234567", "--json", "-o", "tsv"], "exclude"),
        (["stats", "1\x1b[2J2"], "is no phone"),
        (["add", "77051234567"], "--org"),
        (["add", "77051234567", "--org", "-1"], "--org"),
        (["run", "77051234567", "--pairing-window", "soon"], "10m"),
        (["run", "77051234567", "--pairing-window", "0s"], "10m"),
        (["run", "77051234567", "--pairing-window", "25h"], "10m"),
        (["run", "77051234567", "--max-bad-mac", "0"], "--max-bad-mac"),
        (["run", "77051234567", "--limit-scope", "world"], "'world'"),
        (["run", "77051234567", "--metrics-listen", "9464"], "127.0.0.1:9464"),
        (["run", "77051234567", "--keep-history", "5h"], "a day or more"),
        ([], "Usage"),
        (["db"], "Usage"),
    ],
)
def test_usage(arguments: list[str], words: str, capsys: Capture) -> None:
    assert cli.execute(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert words in shown.err
    assert "\x1b" not in shown.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *((word, "Did you mean 'wa-sessions sessions'?") for word in ("list", "phones", "ls")),
        ("history", "Did you mean 'wa-sessions timeline' or 'wa-sessions operations'?"),
        ("help", "Did you mean 'wa-sessions --help'?"),
        ("messages", "Did you mean 'wa-sessions inbox'?"),
        ("ps", "Did you mean 'wa-sessions workers' or 'wa-sessions sessions'?"),
        ("stop", "Did you mean 'wa-sessions drain' or 'wa-sessions force-close'?"),
        ("version", "Did you mean 'wa-sessions --version'?"),
        ("status 77051234567", "Did you mean 'wa-sessions stats'?"),
        ("staats", "Did you mean 'stats'"),
        ("sessions 77051234567", "(77051234567); of one phone: wa-sessions stats PHONE"),
        ("top 77051234567", "(77051234567); of one phone: wa-sessions stats PHONE"),
    ],
)
def test_what_may_have_been_meant(arguments: str, words: str, capsys: Capture) -> None:
    assert cli.execute(arguments.split()) == 2
    assert words in capsys.readouterr().err


def test_what_is_suggested_is_there() -> None:
    assert {one for choices in app._OTHER_WORDS.values() for one in choices} <= {
        *COMMANDS,
        "inbox",
        "--help",
        "--version",
    }
    assert not app._OTHER_WORDS.keys() & set(COMMANDS)


@pytest.mark.parametrize(
    ("option", "variable"),
    [("--on-message-url", "WA_SESSIONS_HANDLER_URL"), ("--store-url", "WA_SESSIONS_STORE_URL")],
)
def test_a_password_in_an_address_is_warned_of(
    option: str, variable: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    wrong = ["--keep-history", "5h"]
    warning = f"everybody on this machine can read the password in {option} (ps): set {variable}"
    cli.execute(["run", option, "https://hook:geheim@msg.example/in", *wrong])
    shown = capsys.readouterr().err
    assert (shown.count(warning), "geheim" in shown) == (1, False)
    for harmless in ("https://msg.example:8443/in", "https://msg.example:8443/in@7"):
        cli.execute(["run", option, harmless, *wrong])
    monkeypatch.setenv(variable, "https://hook:geheim@msg.example/in")
    cli.execute(["run", *wrong])
    assert "everybody" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["stats", "--help"], ["stats"], ["nonsense"]])
def test_what_needs_no_database_imports_none(arguments: list[str]) -> None:
    assert not HEAVY & _imported(arguments)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["nonsense"], []])
def test_the_list_of_commands_imports_none_of_them(arguments: list[str]) -> None:
    modules = {f"wa_sessions.cli.{place.rpartition('.')[0]}" for place, _, _ in ENTRIES.values()}
    assert modules & _imported(["stats"]) == {"wa_sessions.cli.watch.stats"}
    assert not modules & _imported(arguments)


def _imported(arguments: list[str]) -> set[str]:
    """The modules that a command has imported when it ends."""
    program = (
        f"import sys; from wa_sessions import cli; cli.execute({arguments!r}); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("module", ["wa_sessions", "wa_sessions.actions.setup.demo.handler"])
def test_what_handlers_import_is_not_heavy(module: str) -> None:
    program = f"import sys; import {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not (HEAVY | {"typer", "importlib.metadata"}) & set(done.stdout.split())


def test_all_that_the_package_promises_is_there() -> None:
    package = importlib.import_module("wa_sessions")
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = package.no_such_thing


@pytest.mark.parametrize("name", ["configured", "move.backup", "report_words", "table", "times", "sessions.workers"])
def test_examples_in_docstrings(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"wa_sessions.cli.{name}"))
    assert (failed, tried > 0) == (0, True)


def test_an_internal_error_is_one_line_without_a_password(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    error = ValueError("postgresql://ops:s3cr3t@db/shop password=s3cr3t\nsecond line")

    def broken(_arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_invoke", broken)
    assert cli.execute([]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("wa-sessions: internal error: ValueError: postgresql://***@db/shop")
    assert shown.count("\n") == 1
    assert "s3cr3t" not in shown
    monkeypatch.setenv("WA_SESSIONS_DEBUG", "1")
    assert cli.execute([]) == 1
    assert "Traceback" in capsys.readouterr().err


@given(st.lists(st.tuples(st.text(), st.text(), st.text(max_size=12)), max_size=5), st.integers(40, 120))
def test_a_flexible_column_keeps_a_table_within_its_width(rows: list[tuple[str, str, str]], width: int) -> None:
    columns = (Column("A", flexible=True), Column("B", right=True, flexible=True), Column("C"))
    shown = [tuple(map(terminal.plain, row)) for row in rows]
    lines = table(columns, shown, width, [None] * 3)
    assert len(lines) == len(rows) + 1
    assert all(cell_len(line) <= width for line in lines)


def test_a_column_that_is_whole_goes_rather_than_be_cut() -> None:
    columns = (Column("NAME", flexible=True), Column("STORE", flexible=True, whole=True))
    assert table(columns, [("Reception", "whatsmeow")], 100, [None] * 2)[1] == "Reception  whatsmeow"
    wide = "x" * 75
    assert table(columns, [(wide, "whatsmeow")], 80, [None] * 2)[1] == wide


@given(st.timedeltas(min_value=-timedelta(days=800), max_value=timedelta(days=800)))
def test_times_are_short(distance: timedelta) -> None:
    now = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
    assert 0 < len(when(now + distance, now)) <= len("30 Dec 23:59 UTC")


def test_a_qr_fits_a_terminal() -> None:
    code = "2@" + "A" * 150 + "," + "B" * 44 + "," + "C" * 44
    for at_terminal in (True, False):
        lines = drawn(code, terminal=at_terminal).replace("\x1b[30;107m", "").replace("\x1b[0m", "").splitlines()
        assert len({len(line) for line in lines}) == 1
        assert len(lines[0]) <= 80
        assert len(lines) <= 40
