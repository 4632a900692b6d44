"""What is said to people: every case has its words, in every language, and no words are for nothing."""

import ast
import doctest
import re
import string
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from wa_sessions import wording
from wa_sessions.health.advice_cases import Remedy
from wa_sessions.health.alerting import AlertCase
from wa_sessions.health.checking import Finding
from wa_sessions.health.classify import Cause
from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.timeline import CONNECTION, MESSAGES
from wa_sessions.health.uncounted import NotCounted
from wa_sessions.health.unknown import Because
from wa_sessions.wording import numbers
from wa_sessions.wording.english import ENGLISH
from wa_sessions.wording.phrases import Language, Phrase, Template, say

LANGUAGES = {"english": ENGLISH}
STAYS_OR_COMES_BACK = ("replaced", "logged_out", "outdated", "login_refused", "banned", "unreachable", "crashed")
BY_CASE: dict[str, set[str]] = {
    "advice": set(Remedy),
    "alerts": set(AlertCase),
    "reasons": set(Because) | set(NotCounted),
    "verdicts": set(Finding),
    "sentences": set(EventKind) | {f"{kind}.reason" for kind in (*STAYS_OR_COMES_BACK, "store_lost", "set_aside")},
    "timeline": {*MESSAGES, *CONNECTION, "message_recovered.too", "message_lost.too"},
    "parts": set(Cause) | {"baileys", "neonize", "waba", "unknown"},
}
"""Templates that are found by a case of the policy, by table."""

PARTS = ("part", "part_if", "known", "many", "lasting")
"""The functions that name a template of the table of parts."""


def _texts(*nodes: ast.AST) -> Iterator[str]:
    for node in nodes:
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and re.fullmatch(r"[a-z_.]+", part.value):
                yield part.value


def _names() -> dict[str, set[str]]:
    """The templates that the code names, by table."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in Path(numbers.__file__).parent.glob("*.py"):
        module = ast.parse(path.read_text(encoding="utf-8"))
        own = next(
            (table for table in ENGLISH.tables if f'_TABLE = "{table}"' in ast.unparse(module).replace("'", '"')), ""
        )
        found[own] |= {text for text in _texts(module) if re.fullmatch(r"[a-z_]+\.[a-z_]+", text)}
        for node in (node for node in ast.walk(module) if isinstance(node, ast.Call)):
            match ast.unparse(node.func):
                case "Phrase":
                    found[own] |= set(_texts(node.args[1]))
                case "_say":
                    found[own] |= set(_texts(node.args[0]))
                case called if called in PARTS:
                    found["parts"] |= set(_texts(*node.args))
                case _:
                    pass
    return {table: {name for name in names if not name.startswith(".")} for table, names in found.items() if table}


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_every_case_has_its_words_and_no_words_are_for_nothing(language: Language) -> None:
    named = _names()
    assert language.tables.keys() == named.keys() | BY_CASE.keys()
    for table, templates in language.tables.items():
        assert templates.keys() == named.get(table, set()) | BY_CASE.get(table, set()), table


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_every_template_has_the_gaps_that_it_has_in_english(language: Language) -> None:
    for table, templates in ENGLISH.tables.items():
        for name, template in templates.items():
            forms = language.tables[table][name]
            for form in [forms] if isinstance(forms, str) else forms:
                assert gaps(form) <= gaps("".join(template)), (table, name)


def gaps(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def test_what_fills_a_gap_is_no_template() -> None:
    tables: dict[str, dict[str, Template]] = {"one": {"said": "{who}: {how}", "how": ("{n} key", "{n} keys")}}
    language = Language(tables, form=lambda number: 0 if number == 1 else 1)
    for number, words in ((1, "{n}: 1 key"), (2, "{n}: 2 keys"), (0, "{n}: 0 keys")):
        assert say(Phrase("one", "said", {"who": "{n}", "how": Phrase("one", "how", {"n": number})}), language) == words


@pytest.mark.parametrize("module", [wording, numbers])
def test_examples_in_docstrings(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)
