"""Why nobody knows how a phone is, and why messages fail uncounted.

``stats``, ``check`` and ``sessions`` have the same words.
"""

from wa_sessions.health.backend_words import ConnectionType, UnknownWord
from wa_sessions.health.reconnect import State
from wa_sessions.health.uncounted import Uncounted
from wa_sessions.health.unknown import Because, Unknown
from wa_sessions.wording.english import ENGLISH
from wa_sessions.wording.numbers import age
from wa_sessions.wording.phrases import Language, Phrase, say

_TABLE = "reasons"


def unknown_reason(unknown: Unknown, language: Language = ENGLISH) -> str:
    """The reason in words."""
    if unknown.because is Because.LOGS and unknown.doubt:
        return unknown.doubt
    return say(_phrase(unknown), language)


def uncounted_reason(found: Uncounted, language: Language = ENGLISH) -> str:
    """That messages fail again and again, and why, in words."""
    most = Phrase(_TABLE, found.reason, {"n": found.for_reason})
    if more := found.messages - found.for_reason:
        most = Phrase(_TABLE, "failed_too", {"most": most, "n": more})
    return say(most, language)


def _phrase(unknown: Unknown) -> Phrase:
    if unknown.because is Because.NODE and unknown.logs_age is not None:
        return Phrase(_TABLE, "logs_too_old", {"age": age(unknown.logs_age)})
    if unknown.because is not Because.NOT_CONNECTED:
        return Phrase(_TABLE, unknown.because)
    node = unknown.connection_type == ConnectionType.BAILEYS
    doing = unknown.status if node else unknown.state or "not begun"
    if doing == State.CONNECTED:
        return Phrase(_TABLE, "status_overwritten", {"status": _word(unknown.status)})
    if node and isinstance(unknown.status, UnknownWord):
        return Phrase(_TABLE, "strange_status", {"status": _word(unknown.status)})
    return Phrase(_TABLE, unknown.because, {"doing": _word(doing)})


def _word(text: str) -> str | Phrase:
    """A status or state as it is written, with spaces."""
    return text.replace("_", " ") or Phrase(_TABLE, "no_word")
