"""Phones of the corpus as records, and records made from theirs."""

import base64
import json
from dataclasses import replace
from functools import cache
from typing import Any

from hypothesis import strategies as st
from support import corpus

from wa_sessions.keys.baileys.rows import BUFFER, BaileysPhone, Row
from wa_sessions.keys.baileys.session import RECEIVING, SENDING, Chain, Session, SessionState
from wa_sessions.keys.conversion.remarks import Converted
from wa_sessions.keys.conversion.to_baileys import to_baileys
from wa_sessions.keys.conversion.to_whatsmeow import to_whatsmeow
from wa_sessions.keys.device_address import Address
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone

FRESH = b"\x11" * 32
NOW = 1_800_000_000_000
ODD_VALUES: list[Any] = [
    None,
    True,
    -1,
    2**70,
    1.5,
    "",
    "é",
    "AAAA",
    [],
    [[]],
    {},
    {"type": "Buffer"},
    {"0": 300},
    {"a": {}},
]


@cache
def phone(number: str) -> BaileysPhone:
    return BaileysPhone.of_rows(next(rows for (_, name), rows in corpus.rows().items() if name == number))


def there(source: BaileysPhone, **options: Any) -> Converted[WhatsmeowPhone]:
    return to_whatsmeow(source, fresh_pre_key=FRESH, **options)


def back(source: WhatsmeowPhone, **options: Any) -> Converted[BaileysPhone]:
    return to_baileys(source, **{"major": 6, "before": None, "pairing_key": FRESH, "now": NOW} | options)


def with_records(source: BaileysPhone, *records: Any, without: tuple[type, ...] = (Session,)) -> BaileysPhone:
    kept = [record for record in source.records if not isinstance(record, without)]
    return replace(source, records=(*kept, *records))


def key(number: int) -> bytes:
    """A public key as libsignal writes it."""
    return b"\x05" + bytes([number]) * 32


def state(number: int, **changes: Any) -> SessionState:
    """An open session that was used once in each direction; ``number`` tells its keys from others'."""
    plain = SessionState(
        registration_id=7,
        ratchet_public=key(number),
        ratchet_private=bytes([number]) * 32,
        last_remote_key=key(number + 1),
        previous_counter=0,
        root_key=bytes([number]) * 32,
        base_key=key(number + 2),
        base_key_type=2,
        closed=-1,
        used=number,
        created=number,
        remote_identity=key(200),
        chains={key(number + 1): Chain(RECEIVING, 0, b"r" * 32, {}), key(number): Chain(SENDING, 0, b"s" * 32, {})},
        pending=None,
    )
    return replace(plain, **changes)


def session(address: str, *states: SessionState) -> Session:
    return Session(Address.of_baileys(address, "session"), states)


def meaning(row: Row) -> Any:
    """What a row says to Baileys, whichever of its forms a Buffer has."""
    data = base64.b64decode(row.value)
    value = data if row.type == BUFFER else _plain(json.loads(data))
    if row.key.startswith("sender-key-") and isinstance(value, bytes):
        return _plain(json.loads(value))
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "Buffer":
        data = value["data"]
        return base64.b64decode(data) if isinstance(data, str) else bytes(data)
    return {name: _plain(one) for name, one in value.items()}


def changed(value: Any, data: st.DataObject) -> Any:
    """The same with an odd value at one place, or without what stood there."""
    if not (isinstance(value, dict | list) and value) or data.draw(st.integers(0, 5)) == 0:
        return data.draw(st.sampled_from(ODD_VALUES))
    place = data.draw(st.sampled_from(list(value))) if isinstance(value, dict) else 0
    if isinstance(value, dict) and data.draw(st.integers(0, 9)) == 0:
        return {name: one for name, one in value.items() if name != place}
    inner = changed(value[place], data)
    return value | {place: inner} if isinstance(value, dict) else [inner, *value[1:]]
