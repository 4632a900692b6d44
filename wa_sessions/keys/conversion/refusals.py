"""What is wrong with a phone, so that it must not be taken over: judged before anything is converted."""

import re
from typing import Final

from wa_sessions.keys.baileys.creds import Account, Creds, KeyPair
from wa_sessions.keys.baileys.peers import PreKey
from wa_sessions.keys.baileys.rows import BaileysPhone
from wa_sessions.keys.conversion.crypto import DJB_TYPE, bare, is_signed, public_half
from wa_sessions.keys.conversion.remarks import Remark
from wa_sessions.keys.phone_ref import number_of, same_account
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone

_LINKED: Final = re.compile(r"[1-9][0-9]{4,19}:[1-9][0-9]{0,4}@s\.whatsapp\.net")
_OWN_LID: Final = re.compile(r"[1-9][0-9]{4,19}(:[1-9][0-9]{0,4})?@lid")
_ACCOUNT: Final = (b"\x06\x00", b"\x06\x05")
_DEVICE: Final = (b"\x06\x01", b"\x06\x06")
"""What is signed begins with these: of an account, and of one hosted by WhatsApp (whatsmeow: ``pair.go``)."""

_AGAIN: Final = "pair the phone anew"
_SHOWN: Final = 5


def refusals(phone: BaileysPhone, number: str | None = None) -> tuple[Remark, ...]:
    """Why a phone of the Node backend (with ``number``: that one) cannot be taken over; empty where it can.

    All reasons are given.
    """
    creds = phone.creds
    if creds.me is None or creds.account is None:
        return (Remark(Creds.key, "the phone was never paired: there is nothing to take over"),)
    found = []
    if number is not None and not same_account(other := number_of(creds.me.jid), number):
        found.append(Remark(Creds.key, f"its keys are those of another number ({other})"))
    if not _LINKED.fullmatch(creds.me.jid):
        found.append(Remark(Creds.key, "me.id is not the JID of a linked device, as in 77051234567:12@s.whatsapp.net"))
    if creds.me.lid and not _OWN_LID.fullmatch(creds.me.lid):
        found.append(Remark(Creds.key, "me.lid is no LID, as in 99887766:12@lid"))
    pairs = {"noiseKey": creds.noise, "signedIdentityKey": creds.identity, "signedPreKey": creds.signed_pre_key}
    for name, pair in pairs.items():
        if not _belong_together(pair):
            found.append(Remark(Creds.key, f"the halves of {name} do not belong together: {_AGAIN}"))
    found += _bad_pre_keys(phone)
    identity, signed = bare(creds.identity.public), bare(creds.signed_pre_key.public)
    found += _bad_signatures(identity, signed, creds.signed_pre_key_signature, creds.account)
    return tuple(found)


def refusals_to_return(phone: WhatsmeowPhone) -> tuple[Remark, ...]:
    """Why a device of whatsmeow's store cannot go to the Node backend; empty where it can."""
    device = phone.device
    found = []
    if not _LINKED.fullmatch(device.jid):
        found.append(Remark("whatsmeow_device", "its JID is not that of a linked device"))
    account = Account(device.adv_details, device.adv_account_sig_key, device.adv_account_sig, device.adv_device_sig)
    identity, signed = public_half(device.identity_key), public_half(device.signed_pre_key)
    return (*found, *_bad_signatures(identity, signed, device.signed_pre_key_sig, account))


def _belong_together(pair: KeyPair) -> bool:
    return public_half(pair.private) == bare(pair.public)


def _bad_pre_keys(phone: BaileysPhone) -> list[Remark]:
    bad = [one.key for one in phone.records if isinstance(one, PreKey) and not _belong_together(one.pair)]
    if not bad:
        return []
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    names = ", ".join(bad[:_SHOWN]) + more
    return [Remark("pre-key", f"the halves of {names} do not belong together", len(bad))]


def _bad_signatures(identity: bytes, signed_pre_key: bytes, signature: bytes, account: Account) -> list[Remark]:
    """The server or a peer would refuse a device with these."""
    told, key = account.details + identity, account.signature_key
    checks = {
        "the signature of the signed pre-key": is_signed(identity, DJB_TYPE + signed_pre_key, signature),
        "the account's signature of this device": any(
            is_signed(key, prefix + told, account.signature) for prefix in _ACCOUNT
        ),
        "this device's signature of the account": any(
            is_signed(identity, prefix + told + key, account.device_signature) for prefix in _DEVICE
        ),
    }
    return [Remark(Creds.key, f"{name} is wrong: {_AGAIN}") for name, right in checks.items() if not right]
