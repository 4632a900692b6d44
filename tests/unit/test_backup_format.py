"""A backup file: what is written is what is read, and anything else is refused in one way only."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.keys.backup_format import BadBackup, Header, Item, Reader, SavedPhone, SavedRow, Totals, Writer

HEADER = Header(datetime(2026, 1, 15, 18, 0, 0, 123456, UTC), "wa-sessions 0.1.0", 1, "baileys_auth", False)
PHONE = SavedPhone(1, "77051234567", "77051234567:27@s.whatsapp.net", "connected", "baileys", {"id": 1})

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=4)
pairs = st.lists(st.tuples(texts, texts), max_size=2).map(tuple)
phones = st.builds(SavedPhone, st.integers(), texts, texts, texts, texts, objects, pairs)
rows = st.lists(st.tuples(st.sampled_from(["baileys_auth", "whatsmeow_sessions"]), objects), max_size=4)
sections = st.lists(st.tuples(phones, rows), max_size=3)
Sections = list[tuple[SavedPhone, list[tuple[str, dict[str, Any]]]]]


def written(saved: Sections) -> tuple[bytes, Totals, list[Item]]:
    """A file, what its last line says, and what is in it."""
    writer = Writer()
    header = Header(HEADER.made_at, HEADER.made_by, len(saved), "baileys_auth", False)
    parts = [writer.header(header)]
    items: list[Item] = [header]
    for phone, its_rows in saved:
        parts.append(writer.phone(phone))
        items.append(phone)
        for table, row in its_rows:
            text = json.dumps(row, ensure_ascii=False)
            parts.append(writer.row(table, text))
            items.append(SavedRow(table, text.encode()))
    last, totals = writer.end()
    return b"".join([*parts, last]), totals, items


def read(data: bytes, size: int = 1 << 16) -> tuple[list[Item], Totals]:
    reader = Reader()
    items = [item for at in range(0, len(data), size) for item in reader.feed(data[at : at + size])]
    return items, reader.finish()


@given(sections, st.integers(1, 200))
def test_what_is_written_is_read_in_pieces_of_any_size(saved: Sections, size: int) -> None:
    data, totals, items = written(saved)
    assert read(data, size) == (items, totals)
    assert (totals.phones, totals.keys) == (len(saved), sum(len(its_rows) for _, its_rows in saved))


@given(sections, st.data())
def test_a_cut_file_is_noticed_wherever_it_is_cut(saved: Sections, data: st.DataObject) -> None:
    whole = written(saved)[0]
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(BadBackup):
        read(whole[:at])


@given(sections, st.data())
def test_a_changed_byte_is_noticed_wherever_it_is(saved: Sections, data: st.DataObject) -> None:
    whole = bytearray(written(saved)[0])
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadBackup):
        read(bytes(whole))


@given(st.binary(), st.booleans())
def test_what_is_no_backup_is_refused(data: bytes, after_a_header: bool) -> None:
    with pytest.raises(BadBackup):
        read((Writer().header(HEADER) if after_a_header else b"") + data)


@pytest.mark.parametrize("order", ["row first", "twice", "after the end", "two headers"])
def test_lines_out_of_order(order: str) -> None:
    whole = written([(PHONE, [("baileys_auth", {"key": "creds"})])])[0]
    header, phone, row, end = whole.splitlines(keepends=True)
    lines = {
        "row first": [header, row, phone, end],
        "twice": [header, phone, row, row, end],
        "after the end": [header, phone, row, end, row],
        "two headers": [header, header, phone, row, end],
    }
    with pytest.raises(BadBackup, match="damaged"):
        read(b"".join(lines[order]))


def test_a_newer_format_asks_for_a_newer_program() -> None:
    header = Writer().header(HEADER).replace(b'"version": 1', b'"version": 2')
    with pytest.raises(BadBackup, match="install a newer wa-sessions"):
        read(header)


def test_a_file_from_before_lids_were_kept_is_read() -> None:
    line = Writer().phone(PHONE)
    older = line.replace(b', "lid_map": []', b"")
    assert older != line
    assert list(Reader().feed(Writer().header(HEADER) + older)) == [HEADER, PHONE]


@pytest.mark.parametrize("pairs", ["7", '{"1": "2"}', '[["1"]]', '[["1", 2]]', '["12"]', "null"])
def test_lids_of_another_form_are_damage(pairs: str) -> None:
    line = Writer().phone(PHONE).replace(b'"lid_map": []', b'"lid_map": ' + pairs.encode())
    with pytest.raises(BadBackup, match="damaged"):
        list(Reader().feed(Writer().header(HEADER) + line))


def test_other_files_are_told_at_once() -> None:
    with pytest.raises(BadBackup, match="is no backup of wa-sessions"):
        list(Reader().feed(b"PGDMP"))
    with pytest.raises(BadBackup, match="is no backup of wa-sessions"):
        Reader().finish()
