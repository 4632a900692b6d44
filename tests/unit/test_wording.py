"""What is said to people: every case has its words, in every language, and no words are for nothing."""

import string

import pytest

from wa_sessions.health.advice_cases import Remedy
from wa_sessions.wording.english import ENGLISH
from wa_sessions.wording.phrases import Language, Phrase, say

LANGUAGES = {"english": ENGLISH}
GAPS = {
    "advice": {"phone", "operation", "reason", "counter", "kind"},
}


def gaps(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_every_remedy_has_words_and_no_words_are_for_nothing(language: Language) -> None:
    of_messages = {"messages_set_aside", "message_waits"}
    assert language.tables["advice"].keys() == set(Remedy) | of_messages
    assert not any(gaps(str(language.tables["advice"][remedy])) - GAPS["advice"] for remedy in Remedy), (
        "a gap that nothing fills"
    )


def test_what_fills_a_gap_is_no_template() -> None:
    tables = {"one": {"said": "{who}: {how}", "how": ("{n} key", "{n} keys")}}
    language = Language(tables, form=lambda number: 0 if number == 1 else 1)
    for number, words in ((1, "{n}: 1 key"), (2, "{n}: 2 keys"), (0, "{n}: 0 keys")):
        assert say(Phrase("one", "said", {"who": "{n}", "how": Phrase("one", "how", {"n": number})}), language) == words
