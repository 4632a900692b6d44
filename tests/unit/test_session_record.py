import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.store import RECORDS

from wa_sessions.keys.session_record import sender_key_mark, session_mark

SESSION = {at: base64.b64decode(record) for at, record in RECORDS["session"].items()}
SENDER_KEY = {at: base64.b64decode(record) for at, record in RECORDS["sender-key"].items()}


def test_a_real_session_keeps_its_mark_while_it_is_used() -> None:
    assert SESSION["first"] != SESSION["talk"]
    assert session_mark(SESSION["first"]) == session_mark(SESSION["talk"])
    assert SESSION["rebuilt"] != SESSION["rebuilt+talk"]
    assert session_mark(SESSION["rebuilt"]) == session_mark(SESSION["rebuilt+talk"])


def test_a_rebuilt_session_has_another_mark() -> None:
    assert session_mark(SESSION["talk"]) != session_mark(SESSION["rebuilt"])


def test_a_real_sender_key_keeps_its_mark_while_it_is_used() -> None:
    assert SENDER_KEY["group0"] != SENDER_KEY["group1"]
    assert sender_key_mark(SENDER_KEY["group0"]) == sender_key_mark(SENDER_KEY["group1"])


def test_a_new_state_of_a_sender_key_has_another_mark() -> None:
    record = json.loads(SENDER_KEY["group0"])
    newer = record["SenderKeyStates"][0] | {"KeyID": 1}
    record["SenderKeyStates"].insert(0, newer)
    assert sender_key_mark(json.dumps(record).encode()) != sender_key_mark(SENDER_KEY["group0"])


def test_a_mark_tells_nothing_of_the_key() -> None:
    mark = session_mark(SESSION["first"])
    assert mark
    assert len(mark) == 16
    assert mark not in SESSION["first"].hex()


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"SessionState": null}',
        b'{"SessionState": {"SenderBaseKey": null}}',
        b'{"SessionState": {"SenderBaseKey": ""}}',
        b'{"SessionState": {"SenderBaseKey": "no base64"}}',
        b'{"SenderKeyStates": []}',
        b'{"SenderKeyStates": [{"KeyID": 1, "SigningKeyPublic": ""}]}',
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_has_no_mark(record: bytes) -> None:
    assert session_mark(record) is None
    assert sender_key_mark(record) is None


@given(st.binary())
def test_bytes_never_raise(record: bytes) -> None:
    session_mark(record)
    sender_key_mark(record)
