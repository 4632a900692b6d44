"""What must not be taken over is refused with reasons, all of them at once, and without a secret."""

import base64
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import corpus
from support.records import phone, there, with_records

from wa_sessions.keys.baileys.creds import Creds, KeyPair
from wa_sessions.keys.baileys.peers import PreKey
from wa_sessions.keys.baileys.rows import BaileysPhone
from wa_sessions.keys.conversion.crypto import is_signed
from wa_sessions.keys.conversion.refusals import refusals, refusals_to_return

PAIRED = [number for (_, number) in corpus.rows() if number != corpus.PENDING]


def _flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def _half(pair: KeyPair) -> KeyPair:
    return replace(pair, public=_flipped(pair.public))


def _account(creds: Creds, name: str) -> Creds:
    assert creds.account
    return replace(creds, account=replace(creds.account, **{name: _flipped(getattr(creds.account, name))}))


def _me(creds: Creds, **changes: str) -> Creds:
    assert creds.me
    return replace(creds, me=replace(creds.me, **changes))


BROKEN: dict[str, tuple[Callable[[Creds], Creds], list[str]]] = {
    "noise": (lambda c: replace(c, noise=_half(c.noise)), ["the halves of noiseKey do not belong together"]),
    "identity": (
        lambda c: replace(c, identity=_half(c.identity)),
        [
            "the halves of signedIdentityKey do not belong together",
            "the signature of the signed pre-key is wrong",
            "the account's signature of this device is wrong",
            "this device's signature of the account is wrong",
        ],
    ),
    "signed pre-key": (
        lambda c: replace(c, signed_pre_key=_half(c.signed_pre_key)),
        ["the halves of signedPreKey do not belong together", "the signature of the signed pre-key is wrong"],
    ),
    "its signature": (
        lambda c: replace(c, signed_pre_key_signature=_flipped(c.signed_pre_key_signature)),
        ["the signature of the signed pre-key is wrong"],
    ),
    "account's signature": (lambda c: _account(c, "signature"), ["the account's signature of this device is wrong"]),
    "device's signature": (
        lambda c: _account(c, "device_signature"),
        ["this device's signature of the account is wrong"],
    ),
    "never paired": (lambda c: replace(c, me=None), ["the phone was never paired"]),
    "no account": (lambda c: replace(c, account=None), ["the phone was never paired"]),
    "no device": (lambda c: _me(c, jid="77051234567@s.whatsapp.net"), ["me.id is not the JID of a linked device"]),
    "no LID": (lambda c: _me(c, lid="77051234567:12@s.whatsapp.net"), ["me.lid is no LID"]),
}


@pytest.mark.parametrize("number", PAIRED)
def test_every_paired_phone_of_the_corpus_may_go_there_and_back(number: str) -> None:
    assert refusals(phone(number)) == ()
    assert refusals_to_return(there(phone(number)).phone) == ()


@pytest.mark.parametrize("what", BROKEN)
def test_broken_creds_are_refused(what: str) -> None:
    breaks, reasons = BROKEN[what]
    source = phone(corpus.BUFFERS)
    found = refusals(replace(source, creds=breaks(source.creds)))
    assert [one.key for one in found] == ["creds"] * len(reasons)
    for one, reason in zip(found, reasons, strict=True):
        assert one.what.startswith(reason)
    _is_no_secret(source, " ".join(one.what for one in found))


def test_pre_keys_whose_halves_differ_are_named() -> None:
    source = phone(corpus.BUFFERS)
    keys = sorted((one for one in source.records if isinstance(one, PreKey)), key=lambda one: one.id)
    broken = [replace(one, pair=_half(one.pair)) for one in keys[:7]]
    found = refusals(with_records(source, *broken, *keys[7:], without=(PreKey,)))
    names = ", ".join(one.key for one in keys[:5])
    assert [(one.key, one.count, one.what) for one in found] == [
        ("pre-key", 7, f"the halves of {names} and 2 more do not belong together")
    ]


def test_a_device_of_whatsmeow_is_judged_too() -> None:
    device = there(phone(corpus.BUFFERS)).phone.device
    for changes, reason in (
        ({"signed_pre_key": b"s" * 32}, "the signature of the signed pre-key"),
        ({"adv_account_sig": _flipped(device.adv_account_sig)}, "the account's signature"),
        ({"adv_device_sig": _flipped(device.adv_device_sig)}, "this device's signature"),
        ({"jid": "77051234567@s.whatsapp.net"}, "its JID"),
    ):
        over = there(phone(corpus.BUFFERS)).phone
        found = refusals_to_return(replace(over, device=replace(device, **changes)))
        assert len(found) == 1
        assert found[0].what.startswith(reason)


@given(st.binary(min_size=32, max_size=32), st.binary(), st.binary(min_size=64, max_size=64))
def test_no_bytes_of_a_signature_raise(public: bytes, message: bytes, signature: bytes) -> None:
    assert not is_signed(public, message, signature)


def _is_no_secret(source: BaileysPhone, text: str) -> None:
    values = re.findall(r"'data': '([^']+)'", str(source.creds.value()))
    assert len(values) > 5
    assert not [value for value in values if value in text or base64.b64decode(value).hex() in text]
