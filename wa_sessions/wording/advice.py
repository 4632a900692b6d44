"""What to do about a phone, in words."""

from datetime import timedelta

from wa_sessions.health.advice_cases import Advice
from wa_sessions.wording.english import ENGLISH
from wa_sessions.wording.numbers import error_count
from wa_sessions.wording.phrases import Language, Phrase, say

_TABLE = "advice"


def advice_text(advice: Advice, language: Language = ENGLISH) -> str:
    """One line for a person. What it names is typed as it stands there."""
    case = advice.case
    values = {
        "phone": case.phone,
        "operation": case.closed_by or "",
        "reason": case.reason or "",
        "counter": error_count(case.at_limit) if case.at_limit else "",
        "kind": case.connection_type,
        "closer": case.closer or Phrase(_TABLE, "somebody"),
    }
    return say(Phrase(_TABLE, advice.remedy, values), language)


def messages_set_aside(number: int, phone: str, language: Language = ENGLISH) -> str:
    """Messages that their handler could not take."""
    return say(Phrase(_TABLE, "messages_set_aside", {"n": number, "phone": phone}), language)


def waits_for_handler(waited: timedelta, phone: str, language: Language = ENGLISH) -> str:
    """A message that has waited long."""
    return say(Phrase(_TABLE, "message_waits", {"minutes": waited // timedelta(minutes=1), "phone": phone}), language)
