"""A device of whatsmeow's store becomes a phone of the Node backend."""

from dataclasses import replace
from typing import Any, Final, Literal

from wa_sessions.keys.baileys.app_state import AppStateKey, AppStateVersion, Fingerprint
from wa_sessions.keys.baileys.creds import Account, Creds, KeyPair, Me, buffer
from wa_sessions.keys.baileys.peers import IdentityKey, LidMapping, PreKey, Token, TokenIndex
from wa_sessions.keys.baileys.rows import BaileysPhone, Record
from wa_sessions.keys.device_address import LID, PN, Address
from wa_sessions.keys.fields import base64_text
from wa_sessions.keys.phone_ref import number_of
from wa_sessions.keys.takeover import app_state, sender_keys, sessions
from wa_sessions.keys.takeover.crypto import marked, public_half
from wa_sessions.keys.takeover.remarks import Converted, Remarks
from wa_sessions.keys.whatsmeow.plain import Device
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone

Major = Literal[6, 7]
_ABSENT: Final[dict[Major, bytes | None]] = {6: None, 7: b""}


def to_baileys(
    phone: WhatsmeowPhone,
    *,
    major: Major,
    creds_before: Creds | None,
    pairing_key: bytes,
    now: int,
    buffers: bool = False,
) -> Converted[BaileysPhone]:
    """The same linked device in the records of Baileys 6.7 or 7 (``major``).

    ``creds_before`` is the row from before the takeover: what whatsmeow has no word for is taken from it, if it is of
    the same pairing. Where there is none, ``pairing_key`` (32 random bytes) becomes the pairing's own key, which is not
    used any more once a device is linked. ``now``: Unix ms. ``buffers``: see ``BaileysPhone``.
    """
    remarks = Remarks()
    for damaged in phone.damaged:
        remarks.left_out(damaged.key, f"damaged: {damaged.what}")
    records: list[Record] = []
    records += _pre_keys(phone, remarks)
    records += _sessions(phone, major, now, remarks)
    records += _sender_keys(phone, major)
    records += [_app_state_key(record, remarks) for record in phone.app_state_keys]
    records += _versions(phone)
    if major == 7:
        records += _of_seven(phone)
    elif phone.privacy_tokens:
        remarks.left_out("tctoken", "Baileys 6 has no place for them", len(phone.privacy_tokens))
    before = creds_before
    if before and before.identity.private != phone.device.identity_key:
        remarks.notice(Creds.key, "those that were there before are of another pairing: nothing is taken from them")
        before = None
    creds = _creds(phone, before, pairing_key)
    return remarks.converted(BaileysPhone(creds, tuple(records), (), buffers))


def _creds(phone: WhatsmeowPhone, before: Creds | None, pairing_key: bytes) -> Creds:
    device = phone.device
    name = device.push_name or device.business_name
    next_id = max([key.key_id + 1 for key in phone.pre_keys] + [before.next_pre_key_id if before else 1])
    return Creds(
        noise=_pair(device.noise_key),
        identity=_pair(device.identity_key),
        signed_pre_key=_pair(device.signed_pre_key),
        signed_pre_key_id=device.signed_pre_key_id,
        signed_pre_key_signature=device.signed_pre_key_sig,
        registration_id=device.registration_id,
        adv_secret=device.adv_key,
        next_pre_key_id=next_id,
        first_unuploaded_pre_key_id=next_id,
        account=Account(device.adv_details, device.adv_account_sig_key, device.adv_account_sig, device.adv_device_sig),
        me=Me(device.jid, device.lid, name or None),
        platform=device.platform or None,
        app_state_key_id=_newest_key(phone, before),
        rest=before.rest if before else _first_rest(device, pairing_key),
    )


def _first_rest(device: Device, pairing_key: bytes) -> dict[str, Any]:
    """What Baileys' ``initAuthCreds`` and a pairing put into creds beside the keys."""
    return {
        "pairingEphemeralKeyPair": _pair(pairing_key).value(),
        "processedHistoryMessages": [],
        "accountSyncCounter": 1,
        "accountSettings": {"unarchiveChats": False},
        "registered": False,
        "signalIdentities": [
            {
                "identifier": {"name": device.jid, "deviceId": 0},
                "identifierKey": buffer(marked(device.adv_account_sig_key)),
            }
        ],
    }


def _newest_key(phone: WhatsmeowPhone, before: Creds | None) -> str | None:
    """The app state key that was shared last, with which changes are written."""
    mine = before.app_state_key_id if before else None
    newest = max(phone.app_state_keys, key=lambda key: (key.timestamp, base64_text(key.key_id) == mine), default=None)
    return base64_text(newest.key_id) if newest else None


def _pre_keys(phone: WhatsmeowPhone, remarks: Remarks) -> list[Record]:
    """Those that WhatsApp has. Baileys makes new ones from the next number on."""
    fresh = sum(not key.uploaded for key in phone.pre_keys)
    if fresh:
        remarks.left_out("pre-key", "not uploaded yet: Baileys makes its own", fresh)
    return [PreKey(key.key_id, _pair(key.key)) for key in phone.pre_keys if key.uploaded]


def _sessions(phone: WhatsmeowPhone, major: Major, now: int, remarks: Remarks) -> list[Record]:
    found = (sessions.to_node(one, _address(one.address, major), now, remarks) for one in phone.sessions)
    return [session for session in found if session]


def _sender_keys(phone: WhatsmeowPhone, major: Major) -> list[Record]:
    """Baileys 6 looks for its own key under its number."""
    own = number_of(phone.device.lid) if phone.device.lid else None
    records: list[Record] = []
    for key in phone.sender_keys:
        address = _address(key.address, major)
        if major == 6 and key.address.domain == LID and key.address.user == own:
            address = Address(number_of(phone.device.jid), PN, key.address.device)
        if record := sender_keys.to_node(key, address, _ABSENT[major]):
            records.append(record)
    return records


def _app_state_key(record: Any, remarks: Remarks) -> AppStateKey:
    fingerprint = app_state.of_protobuf(record.fingerprint)
    found = AppStateKey(record.key_id, record.key_data, max(record.timestamp, 0), fingerprint or Fingerprint())
    if fingerprint is None:
        remarks.left_out(found.key, "its fingerprint, which cannot be read and is not used")
    return found


def _versions(phone: WhatsmeowPhone) -> list[Record]:
    """The value of an index is the one that the latest patch set."""
    macs: dict[str, dict[bytes, bytes]] = {}
    for mac in sorted(phone.mutation_macs, key=lambda mac: mac.version):
        macs.setdefault(mac.name, {})[mac.index_mac] = mac.value_mac
    return [
        AppStateVersion(record.name, record.version, record.hash, macs.get(record.name, {}))
        for record in phone.app_state_versions
    ]


def _of_seven(phone: WhatsmeowPhone) -> list[Record]:
    records: list[Record] = [IdentityKey(one.address, marked(one.identity)) for one in phone.identity_keys]
    for pair in phone.lid_map:
        records += [LidMapping(pair.pn, pair.lid, is_reverse=False), LidMapping(pair.lid, pair.pn, is_reverse=True)]
    tokens = phone.privacy_tokens
    records += [Token(one.their_jid, one.token, one.timestamp, one.sender_timestamp) for one in tokens]
    return records + ([TokenIndex(tuple(one.their_jid for one in tokens))] if tokens else [])


def _address(address: Address, major: Major) -> Address:
    """Baileys 6 writes no domain."""
    return address if major == 7 else replace(address, domain=PN)


def _pair(private: bytes) -> KeyPair:
    return KeyPair(private, public_half(private))
