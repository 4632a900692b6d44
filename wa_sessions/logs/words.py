"""The words by which lines are found that matter, and what a line that has them may be."""

import re
from enum import IntEnum

import ahocorasick_rs

from wa_sessions.logs.reasons import about_collection


class Meaning(IntEnum):
    """What a line with certain words is about."""

    MESSAGE = 0
    SESSION_ERROR = 1
    SECRET = 2
    FAILED = 3
    OWN = 4
    COLLECTION = 5
    KEY = 6


HEAD = b"Failed to decrypt message with any known session..."
SESSION_ERROR = b"Session error:"
DUMP = b"SessionEntry {"
SIGNS = tuple(sign.encode() for sign in "⚠🔄🚪")
"""What the backend's own lines begin with."""
_NEAR_SIGN = 120

_WORDS = {
    "Failed to decrypt message with any known session": Meaning.MESSAGE,
    "Session error:": Meaning.SESSION_ERROR,
    "SessionEntry {": Meaning.SECRET,
    "failed to decrypt message": Meaning.FAILED,
    "failure in decrypting message": Meaning.FAILED,
    "Bad MAC error #": Meaning.OWN,
    "Bad Decrypt error #": Meaning.OWN,
    " organizationPhoneId: ": Meaning.OWN,
    "Закрытие сессии для ": Meaning.OWN,
    r"\u0417\u0430\u043a\u0440\u044b\u0442\u0438\u0435 ": Meaning.OWN,
    "failed to sync ": Meaning.COLLECTION,
    "failed to decode patch": Meaning.COLLECTION,
    "LTHash verification failed": Meaning.COLLECTION,
    " blocked on missing key from v": Meaning.COLLECTION,
    "privKey: <Buffer ": Meaning.KEY,
    "private: <Buffer ": Meaning.KEY,
    '"privKey":': Meaning.KEY,
    '"private":{"type":"Buffer"': Meaning.KEY,
}
WORDS = tuple(_WORDS)
MEANINGS = tuple(map(int, _WORDS.values()))
"""As plain numbers, which are compared faster."""
SEARCH = ahocorasick_rs.BytesAhoCorasick(
    [words.encode() for words in WORDS], matchkind=ahocorasick_rs.MatchKind.LeftmostFirst
)
_FORMS = {
    Meaning.MESSAGE: "libsignal's line",
    Meaning.SESSION_ERROR: "libsignal's error",
    Meaning.SECRET: "a session with its keys",
    Meaning.FAILED: "a failed message",
    Meaning.OWN: "the backend's own line",
    Meaning.COLLECTION: "a failed collection",
    Meaning.KEY: "a private key",
}
_LETTER = re.compile(r"[^\W\d_]")
_MOST_SHOWN = 60


def any_word(text: bytes) -> int | None:
    """Which of the words stands first in a text; None if none does."""
    found = SEARCH.find_matches_as_indexes(text)
    return found[0][0] if found else None


def form_of(word: int) -> str:
    """How lines are called that have a word and could not be read."""
    return f"{_FORMS[Meaning(MEANINGS[word])]}, its prefix or form is not known"


def is_ours(raw: bytes, word: int) -> bool:
    """Whether a line that has a word has the library's whole phrase."""
    return MEANINGS[word] != Meaning.COLLECTION or about_collection(raw.decode("utf-8", "replace"))


def begin_of(raw: bytes, word: int) -> int:
    """Where the text begins that has a word: of the backend's own lines with the sign before it."""
    at = max(raw.find(WORDS[word].encode()), 0)
    signs = (raw.rfind(sign, max(0, at - _NEAR_SIGN), at) for sign in SIGNS) if MEANINGS[word] == Meaning.OWN else ()
    return max((sign for sign in signs if sign >= 0), default=at)


def example_of(raw: bytes, word: int) -> str:
    """A line up to the word, without anything that is anybody's: letters are x, digits 0."""
    words = WORDS[word]
    before = raw[: max(raw.find(words.encode()), 0)].decode("utf-8", "replace")[-_MOST_SHOWN:]
    masked = _LETTER.sub("x", re.sub(r"\d", "0", before))
    return f"{masked}{words.strip()}…"
