"""That lines of logs name a phone no more, though they used to, or name others alone."""

from datetime import timedelta

from wa_sessions.health.habit import Silence
from wa_sessions.wording.english import ENGLISH
from wa_sessions.wording.numbers import age
from wa_sessions.wording.phrases import Language, Phrase, say

_TABLE = "silences"


def silent(silence: Silence, language: Language = ENGLISH) -> str:
    """The silence in words."""
    return say(_phrase(silence), language)


def _phrase(silence: Silence) -> Phrase:
    if silence.lasts is None:
        return Phrase(_TABLE, "never_named")
    stopped = {"age": age(timedelta(minutes=silence.lasts))}
    if silence.usual is None:
        return Phrase(_TABLE, "stopped", stopped)
    return Phrase(_TABLE, "longer_than_usual", stopped | {"usual": age(timedelta(minutes=max(1, silence.usual)))})
