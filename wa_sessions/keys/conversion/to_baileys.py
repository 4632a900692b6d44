"""A device of whatsmeow's store becomes a phone of the Node backend."""

from typing import Any, Final, Literal

from wa_sessions.keys.baileys.app_state import AppStateKey, AppStateVersion, Fingerprint
from wa_sessions.keys.baileys.creds import Account, Creds, KeyPair, Me, buffer
from wa_sessions.keys.baileys.peers import IdentityKey, LidMapping, PreKey, Token, TokenIndex
from wa_sessions.keys.baileys.rows import BaileysPhone, Record
from wa_sessions.keys.conversion import app_state, sender_keys, sessions
from wa_sessions.keys.conversion.before import Before
from wa_sessions.keys.conversion.crypto import marked, public_half
from wa_sessions.keys.conversion.remarks import Converted, Remarks
from wa_sessions.keys.device_address import LID, PN, Address
from wa_sessions.keys.fields import base64_text
from wa_sessions.keys.phone_ref import number_of
from wa_sessions.keys.whatsmeow.plain import Device
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone

Major = Literal[6, 7]
_ABSENT: Final[dict[Major, bytes | None]] = {6: None, 7: b""}


def to_baileys(
    phone: WhatsmeowPhone, *, major: Major, before: BaileysPhone | None, pairing_key: bytes, now: int
) -> Converted[BaileysPhone]:
    """The same linked device in the records of Baileys 6.7 or 7 (``major``): all of its rows, in place of those before.

    ``before`` are the rows from before the takeover, used if they are of the same pairing: whatsmeow has no word for
    much of ``creds``, keeps no seeds of messages that were passed over, and files all devices under their LIDs. Without
    them ``pairing_key`` (32 random bytes) becomes the pairing's own key, which a linked device does not use any more.
    ``now``: Unix ms.
    """
    remarks = Remarks()
    for damaged in phone.damaged:
        remarks.left_out(damaged.key, f"damaged: {damaged.what}")
    known = Before()
    if before and before.creds.identity.private == phone.device.identity_key:
        known = Before.of(before, phone)
    elif before:
        remarks.notice(Creds.key, "the keys from before are of another pairing: nothing is taken from them")
    records = [
        *_pre_keys(phone, known, remarks),
        *_sessions(phone, major, known, now, remarks),
        *_sender_keys(phone, major, known),
        *(_app_state_key(record, remarks) for record in phone.app_state_keys),
        *_versions(phone),
        *(_of_seven(phone) if major == 7 else ()),
        *known.kept,
    ]
    if major == 6 and phone.privacy_tokens:
        remarks.left_out("tctoken", "Baileys 6 has no place for them", len(phone.privacy_tokens))
    return remarks.converted(BaileysPhone(_creds(phone, known.creds, pairing_key), tuple(records), (), known.buffers))


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


def _pre_keys(phone: WhatsmeowPhone, before: Before, remarks: Remarks) -> list[Record]:
    """Those that WhatsApp has. Baileys makes new ones from the next number on."""
    fresh = sum(not key.uploaded for key in phone.pre_keys)
    if fresh:
        remarks.left_out("pre-key", "not uploaded yet: Baileys makes its own", fresh)
    return [PreKey(key.key_id, before.pairs.get(key.key) or _pair(key.key)) for key in phone.pre_keys if key.uploaded]


def _sessions(phone: WhatsmeowPhone, major: Major, before: Before, now: int, remarks: Remarks) -> list[Record]:
    records: list[Record] = []
    for session in phone.sessions:
        default = before.address(session.address) or _address(session.address, major)
        records += sessions.to_node(session, default, now, before.states, remarks)
    return records


def _sender_keys(phone: WhatsmeowPhone, major: Major, before: Before) -> list[Record]:
    """Under each name that Baileys looks for a peer's key at, but ours under one: no two may ever count on.

    Which name a group uses is not known here. Baileys 6 looks for its own key under its number.
    """
    records: list[Record] = []
    device, numbers = phone.device, {pair.lid: pair.pn for pair in phone.lid_map}
    own = number_of(device.lid) if device.lid else None
    for key in phone.sender_keys:
        known = before.sender_keys.get((key.group, key.address), [])
        if known and sender_keys.to_go(key.group, key.address, known, Remarks()) == key:
            records += known
            continue
        names = [one.address for one in known]
        if not names:
            number = number_of(device.jid) if key.address.user == own else numbers.get(key.address.user)
            of_number = [Address(number, PN, key.address.device)] if number and key.address.domain == LID else []
            of_lid = [_address(key.address, major)]
            names = of_number + of_lid if major == 6 else of_lid + of_number
        is_own = key.address.user in (own, number_of(device.jid))
        found = (sender_keys.to_node(key, name, _ABSENT[major]) for name in (names[:1] if is_own else names))
        records += [record for record in found if record]
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
    return address if major == 7 or address.domain == PN else Address(address.user, PN, address.device)


def _pair(private: bytes) -> KeyPair:
    return KeyPair(private, public_half(private))
