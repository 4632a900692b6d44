"""English."""

from wa_sessions.wording.english.advice import ADVICE
from wa_sessions.wording.english.numbers import NUMBERS
from wa_sessions.wording.english.reasons import REASONS
from wa_sessions.wording.english.verdicts import VERDICTS
from wa_sessions.wording.phrases import Language

ENGLISH = Language(
    {"advice": ADVICE, "numbers": NUMBERS, "reasons": REASONS, "verdicts": VERDICTS},
    form=lambda number: 0 if number == 1 else 1,
)
