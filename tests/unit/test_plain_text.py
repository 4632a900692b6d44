"""Whatever strangers write, nothing that is rendered steers a terminal, a log, a spreadsheet or a reader of lines."""

import doctest
import json
import logging
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wa_sessions import plain_text
from wa_sessions.cli import terminal
from wa_sessions.cli.table import Column, table
from wa_sessions.worker import log

HOSTILE = [
    "\x1b]0;owned\x07\x1b[2Jname",
    "\x9b31mred",
    "a\tb\r\nc\x85d\u2028e",
    "\u202eevil\u2066",
    '=HYPERLINK("http://x")',
    "@SUM(1)",
    "-2+3",
    "\udcff",
    "\x00\x7f",
]
TEXT = st.text(st.characters() | st.sampled_from("\x00\x07\x1b[];\x7f\x85\x9b\x9d\u2028\u202e\udcff\t\n\r=+-@"))


def hostile(test: Any) -> Any:
    for text in HOSTILE:
        test = example(text)(test)
    return given(TEXT)(test)


def steers(text: str) -> bool:
    return any(not letter.isprintable() and letter not in "\u200c\u200d" for letter in text)


@hostile
def test_text_of_one_line(text: str) -> None:
    assert not steers(plain_text.plain(text))
    assert not steers(plain_text.one_line(text))
    assert len(plain_text.plain(text)) == len(text)


@hostile
def test_a_row_of_tsv_has_its_cells_and_no_formula(text: str) -> None:
    values = [text, [text, text], {text: text}, 5, -5, -1.5, None, True]
    named = {str(n): value for n, value in enumerate(values)}
    _, row = terminal.tsv([named], list(named))
    cells = row.split("\t")
    assert len(cells) == len(values)
    assert not any(map(steers, cells))
    assert cells[3:] == ["5", "-5", "-1.5", "", "true"]
    for cell in cells[:3]:
        assert cell[:1] not in set("=+-@") or re.fullmatch(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?", cell, re.IGNORECASE)


@hostile
def test_json_loses_nothing_and_steers_nothing(text: str) -> None:
    for ascii_only in (True, False):
        shown = plain_text.as_json({text: [text]}, indent=2, ascii_only=ascii_only)
        assert not steers(shown.replace("\n", ""))
        assert json.loads(shown) == {text: [text]}
        shown.encode()


@hostile
def test_a_table(text: str) -> None:
    paint = [None, lambda cell: terminal.ours("\x1b[31m") + cell]
    lines = table([Column("a", flexible=True), Column("b")], [[text, text]], 40, paint)
    assert len(lines) == 2
    assert not steers(terminal.clean("".join(lines)).replace("\x1b[31m", ""))


@hostile
def test_what_reaches_stdout_and_stderr(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        written: list[str] = []
        for name in ("stdout", "stderr"):
            patch.setattr(f"sys.{name}", _Screen(written))
        terminal.write(text)
        terminal.say(text)
        terminal.print_line(text)
        terminal.write(terminal.colour(text, "31"))
    shown = "".join(written)
    assert shown.count("\x1b[31m") == shown.count("\x1b[0m") == 1
    shown = shown.replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert not steers(shown.replace("\n", "").replace("\t", ""))


@hostile
def test_a_line_of_the_log_is_one_line(text: str) -> None:
    record = logging.LogRecord("wa_sessions", logging.INFO, "", 0, "%s failed", (text,), None)
    record.wa = {"phone": text, "event": text, "sender": text}
    for formatter in (log._TextFormatter(), log._JsonFormatter()):
        line = formatter.format(record)
        assert not steers(line)
        line.encode()
    assert json.loads(line)["sender"] == text


def test_examples_in_docstrings() -> None:
    failed, tried = doctest.testmod(plain_text)
    assert (failed, tried > 0) == (0, True)


class _Screen:
    encoding = "utf-8"

    def __init__(self, written: list[str]) -> None:
        self._written = written

    def write(self, text: str) -> None:
        self._written.append(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True
