"""How a case becomes words: a template of a language's tables, with values in its gaps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Template = str | tuple[str, ...]
"""Text with gaps, as ``{phone}``; several forms where a number decides, as of ``1 key`` and ``2 keys``."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """What is to be said, in no language yet: the name of a template, and what stands in its gaps.

    Of a template with several forms the value ``n`` chooses one.
    """

    table: str
    name: str
    values: Mapping[str, "str | int | Phrase"] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Language:
    """One language: its tables of templates by name, and which of several forms a number takes."""

    tables: Mapping[str, Mapping[str, Template]]
    form: Callable[[int], int]


def say(phrase: Phrase, language: Language) -> str:
    """The phrase in words. What stands in a gap is never taken for a template itself."""
    template = language.tables[phrase.table][phrase.name]
    if not isinstance(template, str):
        number = phrase.values["n"]
        template = template[language.form(number if isinstance(number, int) else 0)]
    gaps = {name: say(value, language) if isinstance(value, Phrase) else value for name, value in phrase.values.items()}
    return template.format(**gaps)
