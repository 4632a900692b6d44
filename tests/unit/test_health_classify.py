"""What a log line of whatsmeow says about a session's health."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.health.classify import (
    Cause,
    Encryption,
    StoreFailure,
    UnsyncedCollection,
    encryption_of,
    exhausted_id,
    message_cause,
    read_line,
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


def _failed(why: str) -> str:
    return f"Error decrypting message {ID} from {SENDER} in {CHAT}: {why}"


def _notified(why: str, name: str = "regular_high") -> str:
    return f"Failed to sync app state after notification: failed to decode app state {name} patches: {why}"


def _fetched(why: str, name: str = "regular_high") -> str:
    return f"Failed to do initial fetch of app state {name}: failed to decode app state {name} patches: {why}"


# ------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("why", "cause", "encryption"),
    [
        ("failed to decrypt normal message: no valid sessions", Cause.BAD_MAC, Encryption.MESSAGE),
        ("failed to decrypt prekey message: no valid sessions", Cause.BAD_MAC, Encryption.PREKEY_MESSAGE),
        (
            "failed to decrypt group message: sender key state failed verification with given public key",
            Cause.BAD_MAC,
            Encryption.SENDER_KEY_MESSAGE,
        ),
        (
            "failed to decrypt normal message: failed to verify ciphertext MAC: mismatching MAC in signal message",
            Cause.BAD_MAC,
            Encryption.MESSAGE,
        ),
        (
            "failed to decrypt prekey message: prekey store didn't return one-time key with ID 17",
            Cause.MISSING_KEY,
            Encryption.PREKEY_MESSAGE,
        ),
        (
            "failed to decrypt prekey message: no signed prekey found in bundle with ID 1",
            Cause.MISSING_KEY,
            Encryption.PREKEY_MESSAGE,
        ),
        (
            f"failed to decrypt normal message: no session found for user {ADDRESS}",
            Cause.MISSING_KEY,
            Encryption.MESSAGE,
        ),
        (
            f"failed to decrypt group message: no sender key for {ADDRESS} in {GROUP}",
            Cause.MISSING_KEY,
            Encryption.SENDER_KEY_MESSAGE,
        ),
        (
            "failed to decrypt group message: no sender key state for key ID 12",
            Cause.MISSING_KEY,
            Encryption.SENDER_KEY_MESSAGE,
        ),
        (
            "failed to decrypt prekey message: untrusted identity",
            Cause.UNTRUSTED_IDENTITY,
            Encryption.PREKEY_MESSAGE,
        ),
        ("failed to parse normal message: unexpected EOF", Cause.OTHER, Encryption.MESSAGE),
        ("failed to unpad message: plaintext doesn't have expected padding", Cause.OTHER, Encryption.UNKNOWN),
        (
            (
                f"failed to decrypt normal message: failed to check if {ADDRESS}'s identity is trusted: "
                "database returned byte array with illegal length"
            ),
            Cause.OTHER,
            Encryption.MESSAGE,
        ),
        (
            f"failed to decrypt normal message: failed to load session with {ADDRESS}: context canceled",
            Cause.OTHER,
            Encryption.MESSAGE,
        ),
    ],
)
def test_a_message_that_does_not_decrypt(why: str, cause: Cause, encryption: Encryption) -> None:
    assert (message_cause(why), encryption_of(why)) == (cause, encryption)


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
    assert message_cause(f"{step}: {outage}") is Cause.STORE


def test_a_message_that_is_asked_for_no_more() -> None:
    assert exhausted_id(f"Not sending any more retry receipts for {ID}") == ID
    assert exhausted_id(f"Handler for Not sending any more retry receipts for {ID} failed") is None


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
def test_a_collection_that_does_not_sync(said: Callable[[str, str], str], why: str, cause: Cause) -> None:
    assert read_line(said(why, "critical_unblock_low")) == UnsyncedCollection("critical_unblock_low", cause)


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
    assert read_line(_notified(f"{step}: {outage}")) == UnsyncedCollection("regular_high", Cause.STORE)


@pytest.mark.parametrize("said", ["sync app state after notification", "do initial fetch of app state regular"])
def test_the_version_of_a_collection_is_in_our_database(said: str) -> None:
    line = f"Failed to {said}: failed to get app state regular version: {TCP}"
    assert read_line(line) == UnsyncedCollection("regular", Cause.STORE)


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
    assert read_line(line) == UnsyncedCollection("regular", Cause.OTHER)


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
    assert read_line(line) == StoreFailure()


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
    assert read_line(line) is None


@pytest.mark.parametrize(
    "words",
    [
        "pq: x",
        "driver: bad connection",
        "sql: x",
        "dial unix /x/.s.PGSQL.5432: y",
        "failed to load x: connection refused",
        " from 7@lid in 7@lid: failed to load session with 7: connection refused",
    ],
)
@pytest.mark.parametrize(
    "line",
    [
        "Error decrypting message A {} from 666@lid: failed to decrypt normal message: no valid sessions",
        "Error decrypting message {} from 666@lid: failed to decrypt normal message: no valid sessions",
        "Ignoring message A {} from 666@lid: failed to decrypt normal message: old",
        "Unavailable message {} from 666@lid (type: view_once)",
        "Handler for {} failed",
        "Message decryption for {} panicked: x",
        "Not sending any more retry receipts for {}",
        "Dropping retry request from {} for 666@lid: internal retry counter is 9",
        "Failed to send retry receipt for {}: websocket not connected",
        "Failed to send acknowledgement for message {}: websocket not connected",
        "Failed to parse verified_name node in {}: x",
        "Failed to handle retry receipt for 666@lid/{} from 666@lid: couldn't find message",
        "Failed to store message secret key for {}: context canceled",
        "Failed to create sender key distribution message to include in retry of {} in 1@g.us to 2@lid: x",
        'Node handling took 6s for <message from="666@lid" id="A" notify="{}" type="text"/>',
        'Node handling is taking long for <message from="666@lid" notify="{}"/> (started 5s ago)',
    ],
)
def test_a_stranger_cannot_speak_for_our_database(line: str, words: str) -> None:
    assert read_line(line.format(words)) is None


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
    finding = read_line(line)
    assert finding is None or isinstance(finding, UnsyncedCollection | StoreFailure)
    assert finding == read_line(line)
    assert isinstance(message_cause(line), Cause)
    assert isinstance(encryption_of(line), Encryption)


@given(st.text(), st.text(), st.text())
def test_damage_is_told_by_whole_lines_alone(before: str, why: str, after: str) -> None:
    assert not isinstance(read_line(f"x{before}{_notified(why)}{after}"), UnsyncedCollection)


@given(st.text())
def test_a_line_about_a_message_says_nothing_else(why: str) -> None:
    assert read_line(_failed(why)) is None


@given(st.text(), st.sampled_from(STORE_OUTAGES), st.text())
def test_what_names_our_database_is_never_counted(before: str, outage: str, after: str) -> None:
    step = f"failed to load session with {ADDRESS}: {outage}"
    assert message_cause(f"no valid sessions{before}{step}{after}") not in (Cause.BAD_MAC, Cause.BAD_DECRYPT)
    finding = read_line(_notified(f"mismatching LTHash{before}{step}{after}"))
    assert finding is not None
    assert getattr(finding, "cause", None) not in (Cause.BAD_MAC, Cause.BAD_DECRYPT)


def test_a_version_that_a_repair_took_during_a_sync_is_no_failure_of_the_database() -> None:
    why = (
        'failed to insert mutation MACs: pq: insert or update on table "whatsmeow_app_state_mutation_macs" violates '
        'foreign key constraint "whatsmeow_app_state_mutation_macs_jid_name_fkey"'
    )
    line = f"Failed to sync app state after notification: failed to decode app state regular patches: {why}"
    assert read_line(line) == UnsyncedCollection("regular", Cause.OTHER)
