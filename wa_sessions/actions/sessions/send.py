"""Sending a text message from a phone."""

import re
from dataclasses import dataclass

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.ownership import ask, find, require_owner
from wa_sessions.db.phones import Phone
from wa_sessions.errors import UsageError, WaSessionsError
from wa_sessions.keys.phone_ref import PhoneRef, parse_phone

ANSWER_TIMEOUT = 75.0  # seconds: a worker itself waits up to 60 s for WhatsApp
LONGEST_TEXT = 65536  # characters that WhatsApp takes

_OTHER_CHATS = re.compile(r"[0-9]+(-[0-9]+)?@g\.us|[0-9]+@lid")


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that WhatsApp took."""

    phone: Phone
    to: str
    message_id: str


def send_text(opened: Opened, phone: PhoneRef, organization_id: int | None, to: str, text: str) -> Sent:
    """Send ``text`` to a number or group.

    Raises UsageError, WaSessionsError where no worker runs the phone, it is not connected or WhatsApp does not answer,
    OwnedByAnother for a phone that no worker may run, PhoneNotFound, AmbiguousPhone, SchemaMissing.
    """
    chat = _chat(to)
    if not text.strip():
        raise UsageError("the text is empty")
    if len(text) > LONGEST_TEXT:
        raise UsageError(f"the text has {len(text)} characters; WhatsApp takes {LONGEST_TEXT}")
    if "\0" in text:
        raise UsageError("the text holds a NUL character")
    found, owner = find(opened, phone, organization_id)
    answer = ask(opened, found, require_owner(found, owner), "send", ANSWER_TIMEOUT, to=chat, text=text)
    if not answer.get("message_id"):
        raise WaSessionsError(
            f"the worker sent the message to {chat}, but told no id: it may be older than this program"
        )
    return Sent(found, chat, str(answer["message_id"]))


def _chat(to: str) -> str:
    """A chat's JID."""
    word = to.strip().lower()
    if _OTHER_CHATS.fullmatch(word):
        return word
    digits = parse_phone(to).digits
    if digits is None:
        raise UsageError(f"{to.strip()} is an id: a message goes to a number or a group's JID")
    return f"{digits}@s.whatsapp.net"
