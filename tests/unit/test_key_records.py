"""What stands in a row is read whole and written again; what cannot be read is told without its value."""

import base64
import json
import re
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import corpus
from support.records import ODD_VALUES, changed, meaning, phone, there
from support.store import RECORDS

from wa_sessions.keys.baileys.rows import BUFFER, JSON, BaileysPhone, Row, decode, encode
from wa_sessions.keys.fields import BadKey
from wa_sessions.keys.key_types import KEY_TYPES, key_type
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone
from wa_sessions.keys.whatsmeow.sender_key import SenderKey
from wa_sessions.keys.whatsmeow.session import Session

PHONES = [number for (_, number) in corpus.rows()]


@pytest.mark.parametrize("as_bytes", [False, True], ids=["text", "bytea"])
@pytest.mark.parametrize("number", PHONES)
def test_every_row_of_the_corpus_is_written_as_it_was(number: str, as_bytes: bool) -> None:
    rows = next(rows for (_, name), rows in corpus.rows().items() if name == number)
    read = BaileysPhone.of_rows(
        Row(row.key, row.value.encode() if as_bytes and isinstance(row.value, str) else row.value, row.type)
        for row in rows
    )
    assert not read.damaged
    written = {row.key: row for row in read.rows()}
    assert written.keys() == {row.key for row in rows}
    for row in rows:
        assert written[row.key].type == row.type
        assert meaning(written[row.key]) == meaning(row), row.key


def test_the_corpus_has_every_kind_of_key() -> None:
    kinds = {key_type(row.key) for rows in corpus.rows().values() for row in rows}
    assert kinds == set(KEY_TYPES) - {"other"}


@pytest.mark.parametrize("number", [number for number in PHONES if number != corpus.PENDING])
def test_every_row_for_whatsmeow_is_read_as_it_was_written(number: str) -> None:
    made = there(phone(number)).phone
    assert WhatsmeowPhone.of_rows(made.rows()) == made


@pytest.mark.parametrize("at", RECORDS["session"])
def test_a_session_of_whatsmeow_itself_is_written_byte_for_byte(at: str) -> None:
    record = base64.b64decode(RECORDS["session"][at])
    assert Session.of_row({"their_id": "99_1:2", "session": record}).row() == {"their_id": "99_1:2", "session": record}


@pytest.mark.parametrize("at", RECORDS["sender-key"])
def test_a_sender_key_of_whatsmeow_itself_is_written_byte_for_byte(at: str) -> None:
    record = base64.b64decode(RECORDS["sender-key"][at])
    row = {"chat_id": "1@g.us", "sender_id": "99_1:2", "sender_key": record}
    assert SenderKey.of_row(dict(row)).row() == row


def test_fields_that_nobody_knows_are_kept_at_any_depth() -> None:
    row = _one_of("session")
    value = json.loads(base64.b64decode(row.value))
    entry = next(iter(value["_sessions"].values()))
    chain = next(iter(entry["_chains"].values()))
    for place in (value, entry, entry["indexInfo"], entry["currentRatchet"]["ephemeralKeyPair"], chain["chainKey"]):
        place["new"] = {"field": [1, "x"]}
    changed = _row(row.key, value)
    assert meaning(encode(decode(changed))) == value


def test_forms_of_bytes_that_any_version_reads() -> None:
    row = _one_of("pre-key")
    value, plain = json.loads(base64.b64decode(row.value)), decode(row)
    for name in ("private", "public"):
        data = list(base64.b64decode(value[name]["data"]))
        for form in ({"type": "Buffer", "data": data}, {"buffer": True, "value": data}, dict(enumerate(data))):
            assert decode(_row(row.key, value | {name: form})) == plain


def test_a_damaged_row_is_set_apart_and_damaged_creds_are_an_error() -> None:
    rows = next(iter(corpus.rows().values()))
    broken = [Row(row.key, "!", row.type) if row.key.startswith("pre-key-") else row for row in rows]
    read = BaileysPhone.of_rows(broken)
    assert {key_type(wrong.key) for wrong in read.damaged} == {"pre-key"}
    assert "is not base64" in str(read.damaged[0])
    for bad in ([Row("creds", "", JSON)], [row for row in rows if row.key != "creds"]):
        with pytest.raises(BadKey, match="'creds'"):
            BaileysPhone.of_rows(bad)


def test_sessions_of_an_older_libsignal_say_what_to_do() -> None:
    row = _one_of("session")
    value = json.loads(base64.b64decode(row.value))
    del value["version"]
    with pytest.raises(BadKey, match=r"start the phone once with Baileys 6\.7"):
        decode(_row(row.key, value))


@given(st.sampled_from([*KEY_TYPES, "tctoken-__index"]), st.text(), st.binary(), st.sampled_from([JSON, BUFFER, "x"]))
def test_no_bytes_raise_anything_else(kind: str, name: str, data: bytes, row_type: str) -> None:
    for value in (data, base64.b64encode(data)):
        _reads_or_tells(Row(kind if kind in ("creds", "tctoken-__index") else f"{kind}-{name}", value, row_type))


@given(st.data())
def test_no_change_to_a_real_row_raises_anything_else(data: st.DataObject) -> None:
    row = _one_of(data.draw(st.sampled_from([kind for kind in KEY_TYPES if kind != "other"])))
    raw = base64.b64decode(row.value)
    at = data.draw(st.integers(0, len(raw)))
    torn = raw[:at] + data.draw(st.binary(max_size=4)) + raw[at + data.draw(st.integers(0, 4)) :]
    _reads_or_tells(Row(row.key, base64.b64encode(torn), row.type))
    if row.type == JSON:
        value = changed(json.loads(raw), data)
        _reads_or_tells(_row(row.key, value))
        if row.key.startswith("creds"):
            assert not _told(_row(row.key, value), raw)


@given(st.data())
def test_no_change_to_whatsmeows_rows_raises_anything_else(data: st.DataObject) -> None:
    tables = {name: rows[:2] for name, rows in _tables().items()}
    name = data.draw(st.sampled_from(sorted(tables)))
    row = dict(tables[name][0])
    column = data.draw(st.sampled_from(sorted(row)))
    old = row[column]
    if isinstance(old, bytes) and old.startswith(b"{"):
        row[column] = data.draw(st.sampled_from([json.dumps(changed(json.loads(old), data)).encode(), old[:-1], b"{}"]))
    else:
        row[column] = data.draw(st.sampled_from([*ODD_VALUES, b"", b"x" * 32, memoryview(b"y" * 32)]))
    try:
        read = WhatsmeowPhone.of_rows(tables | {name: [row]})
    except BadKey:
        return
    assert WhatsmeowPhone.of_rows(read.rows()).rows() == read.rows()


@pytest.mark.parametrize("depth", [40, 900, 100_000])
def test_nesting_that_could_not_be_written_again_is_told(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    creds = base64.b64decode(_one_of("creds").value)
    for key, raw in (("creds", creds.replace(b"{", b'{"new":' + deep + b",", 1)), ("anything", deep)):
        with pytest.raises(BadKey, match=r"nested too deeply|not JSON"):
            decode(Row(key, base64.b64encode(raw), JSON))


def test_a_key_of_another_length_and_a_session_at_another_place_are_told() -> None:
    row = _one_of("pre-key")
    value = json.loads(base64.b64decode(row.value))
    with pytest.raises(BadKey, match="private has 31 bytes instead of 32"):
        decode(_row(row.key, value | {"private": {"type": "Buffer", "data": [0] * 31}}))
    row = _one_of("session")
    value = json.loads(base64.b64decode(row.value))
    entries = dict(zip(reversed(value["_sessions"]), value["_sessions"].values(), strict=True))
    assert len(entries) > 1
    with pytest.raises(BadKey, match="not under its own base key"):
        decode(_row(row.key, value | {"_sessions": entries}))


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999", b"1" * 5000])
def test_numbers_that_javascript_lacks_are_told(number: bytes) -> None:
    with pytest.raises(BadKey, match="not JSON"):
        decode(Row("anything", base64.b64encode(b'{"a": ' + number + b"}"), JSON))


@cache
def _tables() -> dict[str, list[dict[str, Any]]]:
    return there(phone(corpus.SEVENTH)).phone.rows()


@cache
def _one_of(kind: str) -> Row:
    """The biggest row of a kind that is not made of lists of numbers alone."""
    found = [row for rows in corpus.rows().values() for row in rows if key_type(row.key) == kind]
    return max(found, key=lambda row: (row.type == JSON, kind == "session", len(row.value)))


def _row(key: str, value: Any) -> Row:
    return Row(key, base64.b64encode(json.dumps(value).encode()), JSON)


def _reads_or_tells(row: Row) -> None:
    try:
        record = decode(row)
    except BadKey:
        return
    again = encode(record)
    assert again.key == row.key
    assert decode(again) == record


def _told(row: Row, raw: bytes) -> list[str]:
    """The values of a row that stand in the error that it raises."""
    try:
        decode(row)
    except BadKey as wrong:
        return [value for value in re.findall(r"[A-Za-z0-9+/]{32,}", raw.decode()) if value in str(wrong)]
    return []
