"""What a log line of whatsmeow says about a session's health.

The exact texts were seen on neonize 0.5.2 (whatsmeow of 2026-09-21): neither the reason of a message that does not
decrypt nor an app-state failure reaches Python in any other form. A message's id is chosen by its sender and may look
like any line or part of one, so it is never read out of a line: whoever knows it from the event gives only what stands
behind it.
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
class UnsyncedCollection:
    """An app-state collection did not sync."""

    collection: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class StoreFailure:
    """whatsmeow could not use our database."""


@dataclass(frozen=True, slots=True)
class TemporaryBan:
    """WhatsApp takes no login for ``seconds``; 0 where it does not say."""

    seconds: int


FAILED_MESSAGE = "Error decrypting message "
"""How the line of a copy that does not decrypt begins; the message's id and source follow, then why."""

_BAN = "Temporary ban connect failure: "
_BAN_SECONDS = re.compile(r'\bexpire="(\d+)"')
_EXHAUSTED = "Not sending any more retry receipts for "
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
_REPAIRED_MEANWHILE = 'insert or update on table "whatsmeow_app_state_mutation_macs" violates foreign key constraint'
"""A repair took the collection's version while a sync was writing below it: the next sync begins anew."""
_STORE_CONNECTION = re.compile(
    r"connect(?:ion)?:? (?:refused|reset)|broken pipe|unexpected EOF|i/o timeout|use of closed network"
    r"|no such host|unreachable|no route to host|deadline exceeded"
)
_STORE_WORK = re.compile(
    r"Failed to (?:load|store|save|remove|update|persist|migrate signal store|get LID|get prekeys?|mark prekeys"
    r"|get number of prekeys in database|get current app state|delete all|delete store) "
)
_PARTLY_STORE_WORK = re.compile(
    r"Failed to (?:sync app state|do initial fetch of app state|pair device|process sender key distribution message)"
    r"|Error fetching key [0-9A-F]+ while "
)
_STORE_SPEAKS = re.compile(r"pq: |driver: bad connection|sql: |dial unix \S*\.s\.PGSQL\.")
_NAMES_A_MESSAGE = re.compile(r"Failed to store message secret key for (?!outgoing message )")
_MALFORMED = re.compile(r"failed to (?:parse|unpad|unmarshal|deserialize) ")

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


def message_cause(why: str) -> Cause:
    """Why a copy of a message did not decrypt: ``why`` is what its line says behind the id and the source."""
    if _is_store_failure(why):
        return Cause.STORE
    if any(words in why for words in _BAD_MAC):
        return Cause.BAD_MAC
    if any(words in why for words in _MISSING_KEY):
        return Cause.MISSING_KEY
    return Cause.UNTRUSTED_IDENTITY if "untrusted identity" in why else Cause.OTHER


def encryption_of(why: str) -> Encryption:
    """How that copy was encrypted."""
    return next((encryption for words, encryption in _ENCRYPTIONS.items() if words in why), Encryption.UNKNOWN)


def exhausted_id(line: str) -> str | None:
    """The id at the end of the line that a sender is asked no more; to be believed of a message that failed."""
    return line.removeprefix(_EXHAUSTED) if line.startswith(_EXHAUSTED) else None


def read_line(line: str) -> UnsyncedCollection | StoreFailure | TemporaryBan | None:
    """What a line (without prefix) says about app state, our database or a ban; None if it says nothing of them."""
    if line.startswith(_BAN):
        expire = _BAN_SECONDS.search(line)
        return TemporaryBan(int(expire[1]) if expire else 0)
    if match := _COLLECTION.match(line):
        return UnsyncedCollection(match["name"], _collection_cause(match["step"], match["why"]))
    return StoreFailure() if _tells_store_failure(line) else None


def _collection_cause(step: str, why: str) -> Cause:
    if any(words in why for words in _MISSING_KEY):
        return Cause.MISSING_KEY
    if _REPAIRED_MEANWHILE in why:
        return Cause.OTHER
    if _STORE.search(why) or (step != "fetch" and _is_store_failure(why)):
        return Cause.STORE
    damaged = "context canceled" not in why and any(words in why for words in _BAD_DECRYPT)
    return Cause.BAD_DECRYPT if damaged else Cause.OTHER


def _is_store_failure(why: str) -> bool:
    return bool(_STORE.search(why) or (_STORE_CONNECTION.search(why) and not _MALFORMED.search(why)))


def _tells_store_failure(line: str) -> bool:
    """Only a line that whatsmeow begins with its own work on our database, or the driver writes, tells of it.

    Everywhere else a stranger may be quoted: an id, a whole stanza.
    """
    if _NAMES_A_MESSAGE.match(line):
        return not line.endswith("context canceled")
    if _STORE_WORK.match(line):
        return bool(_STORE.search(line) or _STORE_CONNECTION.search(line))
    return bool(_STORE_SPEAKS.match(line) or (_PARTLY_STORE_WORK.match(line) and _STORE.search(line)))
