"""Where both libraries file a device: by user, domain and number."""

import re
from dataclasses import dataclass
from typing import Self

from wa_sessions.keys.fields import BadKey

PN, LID, HOSTED, HOSTED_LID = 0, 1, 128, 129
"""Domains of users, as libsignal's addresses number them: a phone number, a LID, and both on WhatsApp's own servers."""

_ADDRESS = re.compile(r"([0-9A-Za-z-]{1,64})(?:_([1-9][0-9]{0,3}))?([.:])(0|[1-9][0-9]{0,8})")
LONGEST_NUMBER = 13
"""Digits that real phone numbers have at most; LIDs have 14 or 15."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A device of a user: ``77051234567.2`` or ``99887766_1.0`` in Baileys, with a colon in whatsmeow.

    Baileys 6 writes no domain: there, LIDs look like phone numbers.
    """

    user: str
    domain: int
    device: int

    @classmethod
    def of_baileys(cls, text: str, key: str) -> Self:
        """From the name of a row; raises BadKey."""
        return cls._of(text, ".", key)

    @classmethod
    def of_whatsmeow(cls, text: str, key: str) -> Self:
        """From a column; raises BadKey."""
        return cls._of(text, ":", key)

    @property
    def name(self) -> str:
        """User and domain."""
        return f"{self.user}_{self.domain}" if self.domain else self.user

    @property
    def baileys(self) -> str:
        """As Baileys writes it."""
        return f"{self.name}.{self.device}"

    @property
    def whatsmeow(self) -> str:
        """As whatsmeow writes it."""
        return f"{self.name}:{self.device}"

    @classmethod
    def _of(cls, text: str, point: str, key: str) -> Self:
        match = _ADDRESS.fullmatch(text)
        if match is None or match[3] != point:
            raise BadKey(key, "its name is no address of a device")
        return cls(match[1], int(match[2] or 0), int(match[4]))


def is_user(text: str) -> bool:
    """Whether a text is a phone number or a LID, without device and server."""
    return text.isascii() and text.isdigit() and len(text) <= 32
