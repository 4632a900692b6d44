"""Which kind of failure the libraries' texts mean.

Read in the sources of Baileys 6.7.21, 6.7.24 and 7.0.0-rc14 and of libsignal 6.0.0;
``tests/acceptance/test_baileys_texts.py`` looks whether a text is missing. Older ones were seen in logs.
"""

import re

from wa_sessions.logs.scan_result import Kind

FAILED_MESSAGE = (b"failed to decrypt message", b"failure in decrypting message")
"""What Baileys writes of a message; the second one until version 5."""

OLD_COUNTER = b"Received message with old counter"
MISSING_KEY = "failed to find key"

_GROUP = (
    b"No SenderKeyRecord found for decryption",
    b"No session found to decrypt message",
    b"No sender message key found for iteration",
    b"Invalid signature!",
    b"InvalidMessageException",
)
_OF_MESSAGES = {
    b"Bad MAC": Kind.BAD_MAC,
    b"No matching sessions found for message": Kind.UNDETERMINED,
    b"No session record": Kind.NO_SESSION,
    b"No sessions available": Kind.NO_SESSION,
    b"No sessions": Kind.NO_SESSION,
    b"No open session": Kind.NO_SESSION,
    b"Invalid PreKey ID": Kind.INVALID_PREKEY,
    b"Missing SignedPreKey": Kind.INVALID_PREKEY,
    b"Key used already or never filled": Kind.DUPLICATE,
    **dict.fromkeys(_GROUP, Kind.GROUP),
}
_BAD_DECRYPT = (
    "bad decrypt",
    "HMAC content verification failed",
    "HMAC index verification failed",
    "Invalid patch mac",
    "Invalid snapshot mac",
    "failed to verify LTHash",
    "LTHash verification failed",
    "tried remove, but no previous op",
)
_COLLECTION = re.compile(
    r"failed to sync (?:state from version|\S{1,60} from v\S{1,40}, (?:giving up|forcing snapshot retry))"
    r"|failed to decode patch|LTHash verification failed"
    r"|\S{1,60} blocked on missing key from v\S{1,40}, (?:parking after|retrying with snapshot)"
)
_BLOCKED = "blocked on missing key"


def of_message(why: bytes) -> Kind:
    """Why a message failed. Whatever is no known text is ``OTHER``."""
    kind = _OF_MESSAGES.get(why)
    if kind is None:
        return Kind.DUPLICATE if why.startswith(OLD_COUNTER) else Kind.OTHER
    return kind


def of_session(error: bytes) -> Kind:
    """Why one session state did not fit, from what follows ``Session error:``."""
    error = error.lstrip()
    if error.startswith(b"MessageCounterError"):
        return Kind.DUPLICATE
    if error.startswith(b"Error: Bad MAC") and not error.startswith(b"Error: Bad MAC length"):
        return Kind.BAD_MAC
    return Kind.OTHER


def about_collection(text: str) -> bool:
    """Whether Baileys' words about a collection stand anywhere in a text."""
    return _COLLECTION.search(text) is not None


def of_collection(words: str, why: str) -> Kind | None:
    """Why a collection failed to sync: ``words`` of the line, and its error; None for what is not about one."""
    if _COLLECTION.match(words) is None:
        return None
    if MISSING_KEY in why or _BLOCKED in words:
        return Kind.MISSING_KEY
    return Kind.BAD_DECRYPT if any(text in why or text in words for text in _BAD_DECRYPT) else Kind.OTHER
