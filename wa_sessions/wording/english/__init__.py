"""English."""

from wa_sessions.wording.english.advice import ADVICE
from wa_sessions.wording.english.alerts import ALERTS
from wa_sessions.wording.english.numbers import NUMBERS
from wa_sessions.wording.english.reasons import REASONS
from wa_sessions.wording.english.sentences import PARTS, SENTENCES
from wa_sessions.wording.english.silences import SILENCES
from wa_sessions.wording.english.timeline import TIMELINE
from wa_sessions.wording.english.verdicts import VERDICTS
from wa_sessions.wording.phrases import Language

ENGLISH = Language(
    {
        "advice": ADVICE,
        "alerts": ALERTS,
        "numbers": NUMBERS,
        "parts": PARTS,
        "reasons": REASONS,
        "sentences": SENTENCES,
        "silences": SILENCES,
        "timeline": TIMELINE,
        "verdicts": VERDICTS,
    },
    form=lambda number: 0 if number == 1 else 1,
)
