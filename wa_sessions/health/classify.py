"""What a log line of whatsmeow says about a session's health.

The exact texts were seen on neonize 0.5.2 (whatsmeow of 2026-09-21): neither the reason of a message that does not
decrypt nor an app-state failure reaches Python in any other form.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Why something did not decrypt. Only the first two are counted."""

    BAD_MAC = "bad_mac"
    BAD_DECRYPT = "bad_decrypt"
    MISSING_KEY = "missing_key"
    UNTRUSTED_IDENTITY = "untrusted_identity"
    STORE = "store"
    OTHER = "other"


class Encryption(StrEnum):
    """The Signal message types as WhatsApp's ``enc`` nodes name them."""

    MESSAGE = "msg"
    PREKEY_MESSAGE = "pkmsg"
    SENDER_KEY_MESSAGE = "skmsg"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class UndecryptedMessage:
    """One copy of a message did not decrypt."""

    message_id: str
    sender: str
    chat: str
    cause: Cause
    encryption: Encryption

    @property
    def is_group(self) -> bool:
        """Whether the chat has sender keys: a group, or the posts of a status."""
        return self.chat.endswith("@g.us") or self.encryption is Encryption.SENDER_KEY_MESSAGE


@dataclass(frozen=True, slots=True)
class DuplicateMessage:
    """A message came again whose key was used already: no error."""

    message_id: str


@dataclass(frozen=True, slots=True)
class RetriesExhausted:
    """whatsmeow will not ask the sender of this message again."""

    message_id: str


@dataclass(frozen=True, slots=True)
class UnsyncedCollection:
    """An app-state collection did not sync."""

    collection: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class StoreFailure:
    """whatsmeow could not use our database."""


Finding = UndecryptedMessage | DuplicateMessage | RetriesExhausted | UnsyncedCollection | StoreFailure

_MESSAGE = re.compile(
    r"Error decrypting message (?P<id>\S+) from (?P<sender>\S+?)(?: in (?P<chat>\S+))?: (?P<why>.*)",
    re.DOTALL,
)
_DUPLICATE = re.compile(r"Ignoring message (?P<id>\S+) from .*(?:old counter|already processed)", re.DOTALL)
_EXHAUSTED = re.compile(r"Not sending any more retry receipts for (?P<id>\S+)")
_COLLECTION = re.compile(
    r"Failed to (?:sync app state after notification|do initial fetch of app state \w+): "
    r"failed to (?P<step>decode|get|fetch) app state (?P<name>\w+) (?:patches|version): (?P<why>.*)",
    re.DOTALL,
)

_ENCRYPTIONS = {
    "normal message": Encryption.MESSAGE,
    "prekey message": Encryption.PREKEY_MESSAGE,
    "group message": Encryption.SENDER_KEY_MESSAGE,
}

_STORE = re.compile(
    r"\bpq: |driver: bad connection|\.s\.PGSQL\.|\bsql: "
    r"|failed to (?:load|store|save|remove|check if|generate) (?!.*(?:illegal length|context canceled))"
    r"|failed to get (?:key \w+ to|value MAC of) (?!.*context canceled)"
    r"|failed to (?:update|insert) .*(?:in|to) the database: |failed to update contact store ",
    re.DOTALL,
)
_STORE_CONNECTION = re.compile(
    r"connect(?:ion)?:? (?:refused|reset)|broken pipe|unexpected EOF|i/o timeout|use of closed network"
    r"|no such host|unreachable|no route to host|deadline exceeded"
)
_STORE_WORK = re.compile(
    r"Failed to (?:load|store|save|remove|update|migrate signal store|get LID|get prekeys?|mark prekeys) "
)
_MALFORMED = re.compile(r"failed to (?:parse|unpad|unmarshal|deserialize) ")
_QUOTES_A_STRANGER = re.compile(r"Error decrypting message |Ignoring message |[^<]*<")

_BAD_MAC = ("no valid sessions", "mismatching MAC in signal message", "sender key state failed verification")
_BAD_DECRYPT = (
    "mismatching content MAC",
    "mismatching index MAC",
    "mismatching LTHash",
    "mismatching patch MAC",
    "failed to decode snapshot",
    "failed to verify snapshot",
    "failed to decrypt mutation",
)
_MISSING_KEY = (
    "prekey store didn't return one-time key",
    "no signed prekey found",
    "no session found",
    "no sender key",
    "didn't find app state key",
)


def classify(line: str) -> Finding | None:
    """Read one whatsmeow log line (without prefix); None if it says nothing about health."""
    if match := _MESSAGE.match(line):
        chat = match["chat"] or match["sender"]
        why = match["why"]
        encryption = next((e for words, e in _ENCRYPTIONS.items() if words in why), Encryption.UNKNOWN)
        return UndecryptedMessage(match["id"], match["sender"], chat, _message_cause(why), encryption)
    if match := _DUPLICATE.match(line):
        return DuplicateMessage(match["id"])
    if match := _EXHAUSTED.match(line):
        return RetriesExhausted(match["id"])
    if match := _COLLECTION.match(line):
        return UnsyncedCollection(match["name"], _collection_cause(match["step"], match["why"]))
    return StoreFailure() if _tells_store_failure(line) else None


def _message_cause(why: str) -> Cause:
    if _is_store_failure(why):
        return Cause.STORE
    if any(words in why for words in _BAD_MAC):
        return Cause.BAD_MAC
    if any(words in why for words in _MISSING_KEY):
        return Cause.MISSING_KEY
    return Cause.UNTRUSTED_IDENTITY if "untrusted identity" in why else Cause.OTHER


def _collection_cause(step: str, why: str) -> Cause:
    if any(words in why for words in _MISSING_KEY):
        return Cause.MISSING_KEY
    if _STORE.search(why) or (step != "fetch" and _is_store_failure(why)):
        return Cause.STORE
    damaged = "context canceled" not in why and any(words in why for words in _BAD_DECRYPT)
    return Cause.BAD_DECRYPT if damaged else Cause.OTHER


def _is_store_failure(why: str) -> bool:
    return bool(_STORE.search(why) or (_STORE_CONNECTION.search(why) and not _MALFORMED.search(why)))


def _tells_store_failure(line: str) -> bool:
    """A line that quotes what a stranger wrote (a message's id, a whole stanza) tells nothing about our database."""
    if _QUOTES_A_STRANGER.match(line):
        return False
    return bool(_STORE.search(line) or (_STORE_WORK.match(line) and _STORE_CONNECTION.search(line)))
