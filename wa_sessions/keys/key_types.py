"""What kind of auth key a row of the Node backend holds, by its name (Baileys 6.7 and 7)."""

import re
from typing import Final

OTHER: Final = "other"

_PREFIXED: Final = (
    "app-state-sync-version",
    "app-state-sync-key",
    "sender-key-memory",
    "sender-key",
    "session",
    "pre-key",
    "lid-mapping",
    "device-list",
    "tctoken",
    "identity-key",
)
"""Longer names before those that they begin with."""

KEY_TYPES: Final = ("creds", *_PREFIXED, OTHER)
"""All of them; ``other`` is every name that no known Baileys version writes."""


_PREFIX: Final = re.compile(f"({'|'.join(_PREFIXED)})-")


def key_type(key: str) -> str:
    """The type of an auth key, as Baileys names it.

    >>> [key_type(key) for key in ("creds", "sender-key-memory-1@g.us", "sender-key-1@g.us::7::0", "sessions-1")]
    ['creds', 'sender-key-memory', 'sender-key', 'other']
    """
    if key == "creds":
        return key
    match = _PREFIX.match(key)
    return match[1] if match else OTHER
