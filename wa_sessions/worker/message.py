"""A message as a handler gets it."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """One decrypted message.

    ``chat`` and ``sender`` are JIDs (``sender_alt`` the sender's other address, if WhatsApp told it), ``timestamp`` is
    in seconds since 1970, ``kind`` the field of WhatsApp's ``Message`` that is set (``conversation``,
    ``imageMessage``, …), ``text`` the text or caption, ``raw`` the whole ``Message`` as protobuf.
    """

    id: str
    chat: str
    sender: str
    sender_alt: str | None
    from_me: bool
    is_group: bool
    timestamp: int
    kind: str
    text: str
    raw: bytes
    phone: str = ""

    def as_json(self) -> str:
        """One JSON object without ``raw``."""
        names = ("id", "chat", "sender", "sender_alt", "from_me", "is_group", "timestamp", "kind", "text", "phone")
        return json.dumps({name: getattr(self, name) for name in names}, ensure_ascii=False)
