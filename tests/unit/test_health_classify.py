"""What a log line of whatsmeow says about a session's health."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.health.classify import (
    Cause,
    DuplicateMessage,
    Encryption,
    Finding,
    RetriesExhausted,
    StoreFailure,
    UndecryptedMessage,
    UnsyncedCollection,
    classify,
)

ID = "3EB0C767D097B7C7C9"
SENDER = "128345678901234:5@lid"
CHAT = "128345678901234@lid"
GROUP = "120363041234567890@g.us"
ADDRESS = "128345678901234_1:5"

UNIX = "dial unix /var/run/x/.s.PGSQL.5432: connect: no such file or directory"
TCP = "dial tcp 127.0.0.1:5432: connect: connection refused"
STORE_OUTAGES = (
    UNIX,
    "dial unix /x/.s.PGSQL.5432: connect: connection refused",
    TCP,
    "dial tcp: lookup postgres on 127.0.0.11:53: no such host",
    "dial tcp 10.0.0.5:5432: connect: no route to host",
    "dial tcp 10.0.0.5:5432: i/o timeout",
    "read tcp 127.0.0.1:40000->127.0.0.1:5432: read: connection reset by peer",
    "write tcp 127.0.0.1:40000->127.0.0.1:5432: write: broken pipe",
    "pq: the database system is shutting down",
    "pq: the database system is starting up",
    "pq: terminating connection due to administrator command",
    "pq: sorry, too many clients already",
    "pq: unnamed prepared statement does not exist",
    "driver: bad connection",
    "sql: database is closed",
    "unexpected EOF",
    "EOF",
    "context deadline exceeded",
)


def _failed(why: str, *, chat: str = CHAT) -> str:
    return f"Error decrypting message {ID} from {SENDER} in {chat}: {why}"


def _message(cause: Cause, encryption: Encryption, chat: str = CHAT) -> UndecryptedMessage:
    return UndecryptedMessage(ID, SENDER, chat, cause, encryption)


def _notified(why: str, name: str = "regular_high") -> str:
    return f"Failed to sync app state after notification: failed to decode app state {name} patches: {why}"


def _fetched(why: str, name: str = "regular_high") -> str:
    return f"Failed to do initial fetch of app state {name}: failed to decode app state {name} patches: {why}"


# ------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        (
            _failed("failed to decrypt normal message: no valid sessions"),
            _message(Cause.BAD_MAC, Encryption.MESSAGE),
        ),
        (
            _failed("failed to decrypt prekey message: no valid sessions"),
            _message(Cause.BAD_MAC, Encryption.PREKEY_MESSAGE),
        ),
        (
            _failed(
                "failed to decrypt group message: sender key state failed verification with given public key",
                chat=GROUP,
            ),
            _message(Cause.BAD_MAC, Encryption.SENDER_KEY_MESSAGE, GROUP),
        ),
        (
            _failed(
                "failed to decrypt normal message: failed to verify ciphertext MAC: mismatching MAC in signal message"
            ),
            _message(Cause.BAD_MAC, Encryption.MESSAGE),
        ),
        (
            _failed("failed to decrypt prekey message: prekey store didn't return one-time key with ID 17"),
            _message(Cause.MISSING_KEY, Encryption.PREKEY_MESSAGE),
        ),
        (
            _failed("failed to decrypt prekey message: no signed prekey found in bundle with ID 1"),
            _message(Cause.MISSING_KEY, Encryption.PREKEY_MESSAGE),
        ),
        (
            _failed(f"failed to decrypt normal message: no session found for user {ADDRESS}"),
            _message(Cause.MISSING_KEY, Encryption.MESSAGE),
        ),
        (
            _failed(f"failed to decrypt group message: no sender key for {ADDRESS} in {GROUP}", chat=GROUP),
            _message(Cause.MISSING_KEY, Encryption.SENDER_KEY_MESSAGE, GROUP),
        ),
        (
            _failed("failed to decrypt group message: no sender key state for key ID 12", chat=GROUP),
            _message(Cause.MISSING_KEY, Encryption.SENDER_KEY_MESSAGE, GROUP),
        ),
        (
            _failed("failed to decrypt prekey message: untrusted identity"),
            _message(Cause.UNTRUSTED_IDENTITY, Encryption.PREKEY_MESSAGE),
        ),
        (
            _failed("failed to parse normal message: unexpected EOF"),
            _message(Cause.OTHER, Encryption.MESSAGE),
        ),
        (
            _failed("failed to unpad message: plaintext doesn't have expected padding"),
            _message(Cause.OTHER, Encryption.UNKNOWN),
        ),
        (
            _failed(
                f"failed to decrypt normal message: failed to check if {ADDRESS}'s identity is trusted: "
                "database returned byte array with illegal length"
            ),
            _message(Cause.OTHER, Encryption.MESSAGE),
        ),
        (
            _failed(f"failed to decrypt normal message: failed to load session with {ADDRESS}: context canceled"),
            _message(Cause.OTHER, Encryption.MESSAGE),
        ),
    ],
)
def test_a_message_that_does_not_decrypt(line: str, finding: UndecryptedMessage) -> None:
    assert classify(line) == finding


@pytest.mark.parametrize("outage", STORE_OUTAGES)
@pytest.mark.parametrize(
    "step",
    [
        f"failed to decrypt normal message: failed to load session with {ADDRESS}",
        f"failed to decrypt prekey message: failed to check if store has session for {ADDRESS}",
        f"failed to decrypt normal message: failed to check if {ADDRESS}'s identity is trusted",
        f"failed to decrypt normal message: failed to save identity of {ADDRESS}",
        f"failed to decrypt normal message: failed to store session with {ADDRESS}",
        "failed to decrypt prekey message: failed to load prekey 17",
        "failed to decrypt prekey message: failed to remove prekey 17",
        f"failed to decrypt group message: failed to load sender key from {ADDRESS} for {GROUP}",
        f"failed to decrypt group message: failed to store sender key from {ADDRESS} for {GROUP}",
    ],
)
def test_a_message_that_our_own_database_could_not_decrypt(step: str, outage: str) -> None:
    finding = classify(_failed(f"{step}: {outage}"))
    assert isinstance(finding, UndecryptedMessage)
    assert finding.cause is Cause.STORE


def test_a_sender_who_is_the_chat_is_written_once() -> None:
    line = f"Error decrypting message {ID} from {CHAT}: failed to decrypt normal message: no valid sessions"
    assert classify(line) == UndecryptedMessage(ID, CHAT, CHAT, Cause.BAD_MAC, Encryption.MESSAGE)


@pytest.mark.parametrize(
    ("chat", "encryption", "is_group"),
    [
        (CHAT, Encryption.MESSAGE, False),
        (CHAT, Encryption.PREKEY_MESSAGE, False),
        (GROUP, Encryption.SENDER_KEY_MESSAGE, True),
        (GROUP, Encryption.PREKEY_MESSAGE, True),
        ("status@broadcast", Encryption.SENDER_KEY_MESSAGE, True),
        ("status@broadcast", Encryption.PREKEY_MESSAGE, False),
    ],
)
def test_where_sender_keys_are_used(chat: str, encryption: Encryption, is_group: bool) -> None:
    assert _message(Cause.BAD_MAC, encryption, chat).is_group is is_group


@pytest.mark.parametrize(
    "why",
    [
        "failed to decrypt group message: received message with old counter (current: 9, received: 3)",
        "failed to decrypt normal message: event was already processed at 2026-09-21 10:00:00 +0000 UTC",
    ],
)
def test_a_duplicate_is_no_failure(why: str) -> None:
    assert classify(f"Ignoring message {ID} from {SENDER} in {CHAT}: {why}") == DuplicateMessage(ID)


def test_a_message_that_is_asked_for_no_more() -> None:
    assert classify(f"Not sending any more retry receipts for {ID}") == RetriesExhausted(ID)


# ------------------------------------------------------------------------------------------------ app state


@pytest.mark.parametrize("said", [_notified, _fetched])
@pytest.mark.parametrize(
    ("why", "cause"),
    [
        ("failed to verify mutation #1: mismatching content MAC", Cause.BAD_DECRYPT),
        ("failed to verify mutation #3: mismatching index MAC", Cause.BAD_DECRYPT),
        ("failed to verify patch v4: mismatching LTHash", Cause.BAD_DECRYPT),
        ("failed to verify patch v4: mismatching patch MAC", Cause.BAD_DECRYPT),
        ("failed to decode snapshot of v4: failed to verify mutation #1: mismatching content MAC", Cause.BAD_DECRYPT),
        ("failed to verify snapshot: failed to verify patch v4: mismatching LTHash", Cause.BAD_DECRYPT),
        ("failed to decode snapshot", Cause.BAD_DECRYPT),
        ("failed to verify snapshot", Cause.BAD_DECRYPT),
        ("failed to decrypt mutation #1: invalid padding", Cause.BAD_DECRYPT),
        ("failed to get key 0A1B to decode mutation: didn't find app state key", Cause.MISSING_KEY),
        ("failed to get key 0A1B to verify patch v4 MACs: didn't find app state key", Cause.MISSING_KEY),
        (
            "failed to verify snapshot: failed to get key 0A1B to verify patch v4 MACs: didn't find app state key",
            Cause.MISSING_KEY,
        ),
        (
            "failed to decode snapshot of v4: failed to get key 0A1B to decode mutation: didn't find app state key",
            Cause.MISSING_KEY,
        ),
        ("failed to verify snapshot: failed to get key 0A1B to verify patch v4 MACs: context canceled", Cause.OTHER),
        ("failed to unmarshal mutation #1: unexpected EOF", Cause.OTHER),
    ],
)
def test_a_collection_that_does_not_sync(said, why: str, cause: Cause) -> None:
    assert classify(said(why, "critical_unblock_low")) == UnsyncedCollection("critical_unblock_low", cause)


@pytest.mark.parametrize("outage", STORE_OUTAGES)
@pytest.mark.parametrize(
    "step",
    [
        "failed to get key 0A1B to decode mutation",
        "failed to get key 0A1B to verify patch v4 MACs",
        "failed to decode snapshot of v4: failed to get key 0A1B to decode mutation",
        "failed to verify snapshot: failed to get key 0A1B to verify patch v4 MACs",
        "failed to update state hash: failed to get value MAC of previous SET operation",
        "failed to update app state version in the database",
        "failed to remove deleted mutation MACs from the database",
        "failed to insert added mutation MACs to the database",
    ],
)
def test_a_collection_that_our_own_database_could_not_sync(step: str, outage: str) -> None:
    assert classify(_notified(f"{step}: {outage}")) == UnsyncedCollection("regular_high", Cause.STORE)


@pytest.mark.parametrize("said", ["sync app state after notification", "do initial fetch of app state regular"])
def test_the_version_of_a_collection_is_in_our_database(said: str) -> None:
    line = f"Failed to {said}: failed to get app state regular version: {TCP}"
    assert classify(line) == UnsyncedCollection("regular", Cause.STORE)


@pytest.mark.parametrize(
    "why",
    [
        "websocket disconnected before info query returned response",
        "info query timed out",
        "websocket not connected",
        "failed to download external mutations: dial tcp 127.0.0.1:443: connect: connection refused",
    ],
)
def test_patches_that_whatsapp_does_not_give_are_neither_damage_nor_our_database(why: str) -> None:
    line = f"Failed to sync app state after notification: failed to fetch app state regular patches: {why}"
    assert classify(line) == UnsyncedCollection("regular", Cause.OTHER)


# ----------------------------------------------------------------------------------------- our own database


@pytest.mark.parametrize(
    "line",
    [
        UNIX,
        "dial unix /x/.s.PGSQL.5432: connect: no such file or directory",
        "pq: the database system is shutting down",
        "driver: bad connection",
        f"Failed to get LID for {SENDER}: {UNIX}",
        f"Failed to get LID for {SENDER}: {TCP}",
        f"Failed to migrate signal store from {SENDER} to {CHAT}: pq: the database system is starting up",
        f"Failed to store message secret key for {ID}: {TCP}",
        "Failed to store app state sync key 0A1B: dial tcp: lookup postgres: no such host",
        "Failed to get prekeys to upload: failed to query existing prekeys: driver: bad connection",
        f"Failed to get prekey for retry receipt: {TCP}",
        f"Failed to mark prekeys as uploaded: {TCP}",
        f"Failed to sync app state after notification: failed to update contact store with data from snapshot: {TCP}",
    ],
)
def test_our_own_database_fails(line: str) -> None:
    assert classify(line) == StoreFailure()


CLEARING = "clearing stored identity and retrying"
DIAL = "couldn't dial whatsapp web websocket: dial tcp"


@pytest.mark.parametrize(
    "line",
    [
        f"Error reconnecting after autoreconnect sleep: {DIAL} 127.0.0.1:1: connect: connection refused",
        f"Error reconnecting after autoreconnect sleep: {DIAL}: lookup web.whatsapp.com: no such host",
        f"Initial connection failed but reconnecting in background ({DIAL} 127.0.0.1:1: i/o timeout)",
        "failed to fetch app state regular patches: websocket disconnected",
        "Error reading from websocket: failed to get reader: failed to read frame header: EOF",
        "Failed to send keepalive: websocket not connected",
        f"Failed to send retry receipt for {ID}: write tcp 127.0.0.1:1->127.0.0.1:443: write: broken pipe",
        "Failed to send request to upload prekeys: info query timed out",
        "Failed to download history sync: dial tcp 127.0.0.1:443: connect: connection refused",
        "Failed to store LID-PN mapping for 1@lid -> 2@lid: invalid PutLIDMapping call 1@lid/2@lid",
        "Keepalive timed out",
        f"Got untrusted identity error while trying to decrypt prekey message from {SENDER}, {CLEARING}",
        "Sending key request for app state keys",
        f'Unavailable message {ID} from {SENDER} in {CHAT} (type: "view_once")',
        "Synced app state regular from version 3 to 4",
        "",
    ],
)
def test_what_says_nothing_about_health(line: str) -> None:
    assert classify(line) is None


@pytest.mark.parametrize("words", ["pq: x", "driver: bad connection", "sql: x", "failed to load x: connection refused"])
@pytest.mark.parametrize(
    "line",
    [
        "Error decrypting message A {} from 666@lid: failed to decrypt normal message: no valid sessions",
        "Ignoring message A {} from 666@lid: failed to decrypt normal message: old",
        'Node handling took 6s for <message from="666@lid" id="A" notify="{}" type="text"/>',
        'Node handling is taking long for <message from="666@lid" notify="{}"/> (started 5s ago)',
    ],
)
def test_a_stranger_cannot_speak_for_our_database(line: str, words: str) -> None:
    assert classify(line.format(words)) is None


# -------------------------------------------------------------------------------------------- any line at all

_words = st.sampled_from(
    (
        "Error decrypting message ",
        "Ignoring message ",
        "Not sending any more retry receipts for ",
        "Failed to sync app state after notification: ",
        "Failed to do initial fetch of app state regular: ",
        "failed to decode app state regular patches: ",
        ID,
        " from ",
        SENDER,
        " in ",
        CHAT,
        ": ",
        "failed to decrypt normal message: ",
        "no valid sessions",
        "mismatching content MAC",
        "didn't find app state key",
        *STORE_OUTAGES,
    )
)
lines = st.one_of(st.text(), st.lists(st.one_of(_words, st.text(max_size=3)), max_size=8).map("".join))


@given(lines)
def test_no_line_is_too_strange(line: str) -> None:
    finding = classify(line)
    assert finding is None or isinstance(finding, Finding)
    assert finding == classify(line)


@given(st.text(), st.text(), st.text())
def test_damage_is_told_by_whole_lines_alone(before: str, why: str, after: str) -> None:
    assert not isinstance(classify(f"x{before}{_failed(why)}{after}"), UndecryptedMessage)
    assert not isinstance(classify(f"x{before}{_notified(why)}{after}"), UnsyncedCollection)


@given(st.text(), st.sampled_from(STORE_OUTAGES), st.text())
def test_what_names_our_database_is_never_counted(before: str, outage: str, after: str) -> None:
    step = f"failed to load session with {ADDRESS}: {outage}"
    for why in (f"no valid sessions{before}{step}{after}", f"mismatching LTHash{before}{step}{after}"):
        for line in (_failed(why), _notified(why)):
            finding = classify(line)
            assert finding is not None
            assert getattr(finding, "cause", None) not in (Cause.BAD_MAC, Cause.BAD_DECRYPT)
