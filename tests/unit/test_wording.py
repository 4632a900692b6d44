"""What is said to people: every case has its words, in every language, and no words are for nothing."""

import ast
import doctest
import string
from collections import defaultdict
from pathlib import Path

import pytest

from wa_sessions.health.advice_cases import Remedy
from wa_sessions.health.checking import Finding
from wa_sessions.health.unknown import Because
from wa_sessions.wording import numbers
from wa_sessions.wording.english import ENGLISH
from wa_sessions.wording.phrases import Language, Phrase, say

LANGUAGES = {"english": ENGLISH}
BY_CASE = {"advice": set(Remedy), "reasons": set(Because), "verdicts": set(Finding)}
"""The tables whose templates are found by a case of the policy."""


def _names() -> dict[str, set[str]]:
    """The templates that the code names, by table."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in Path(numbers.__file__).parent.glob("*.py"):
        module = ast.parse(path.read_text(encoding="utf-8"))
        tables = [
            ast.literal_eval(node.value)
            for node in module.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_TABLE"
        ]
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Phrase", "_phrase") and tables:
                names = [
                    part.value
                    for part in ast.walk(node.args[-1] if len(node.args) == 1 else node.args[1])
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
                found[tables[0]].update(names)
    return found


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_every_case_has_its_words_and_no_words_are_for_nothing(language: Language) -> None:
    named = _names()
    assert language.tables.keys() == named.keys() | BY_CASE.keys()
    for table, templates in language.tables.items():
        assert templates.keys() == named[table] | BY_CASE.get(table, set()), table


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
    tables = {"one": {"said": "{who}: {how}", "how": ("{n} key", "{n} keys")}}
    language = Language(tables, form=lambda number: 0 if number == 1 else 1)
    for number, words in ((1, "{n}: 1 key"), (2, "{n}: 2 keys"), (0, "{n}: 0 keys")):
        assert say(Phrase("one", "said", {"who": "{n}", "how": Phrase("one", "how", {"n": number})}), language) == words


def test_examples_in_docstrings() -> None:
    failed, tried = doctest.testmod(numbers)
    assert (failed, tried > 1) == (0, True)
