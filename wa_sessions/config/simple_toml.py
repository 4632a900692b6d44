"""TOML as most config files have it: tables of texts, whole numbers, true and false, each on a line of its own.

Anything else is left to tomllib, whose import takes longer than all the rest of reading the settings.
"""

_LONGEST_NUMBER = 9


def read(text: str) -> dict[str, object] | None:
    """What stands in the text; None where only tomllib can say that, or why it is no TOML.

    >>> read('lease = "6s" # of a worker' + chr(10) + "[test]" + chr(10) + "handlers = 4")
    {'lease': '6s', 'test': {'handlers': 4}}
    >>> read("lease = 6s"), read("lease = '6s'")
    (None, None)
    """
    if not text.replace("\n", "").replace("\t", "").isprintable():
        return None
    root: dict[str, object] = {}
    table = root
    for line in (line.strip(" \t") for line in text.split("\n")):
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            name, end = line[1:-1], line[-1]
            if end != "]" or not _is_bare(name) or name in root:
                return None
            root[name] = table = {}
            continue
        name, equals, written = line.partition("=")
        name, value = name.rstrip(" \t"), _value(written.strip(" \t"))
        if not equals or not _is_bare(name) or name in table or value is None:
            return None
        table[name] = value
    return root


def _is_bare(name: str) -> bool:
    return name.isascii() and name.replace("_", "").replace("-", "").isalnum()


def _value(written: str) -> object:
    if written.startswith('"'):
        return _text(written)
    if written.startswith("[") and written.endswith("]") and "#" not in written:
        texts = [_text(part) for part in written[1:-1].split(",")]
        return None if None in texts else texts
    word = written.partition("#")[0].rstrip(" \t")
    if word in ("true", "false"):
        return word == "true"
    is_number = word.isascii() and word.isdigit() and len(word) <= _LONGEST_NUMBER and str(int(word)) == word
    return int(word) if is_number else None


def _text(written: str) -> str | None:
    """A text in quotes, with nothing behind it but a comment."""
    before, begins, rest = written.partition('"')
    text, ends, after = rest.partition('"')
    is_alone = not before.strip(" \t") and after.lstrip(" \t")[:1] in ("", "#")
    return text if begins and ends and is_alone and "\\" not in text else None
