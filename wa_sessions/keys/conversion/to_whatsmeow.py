"""A phone of the Node backend becomes a device in whatsmeow's store."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from wa_sessions.keys.baileys.app_state import AppStateKey, AppStateVersion
from wa_sessions.keys.baileys.creds import Account, Creds, Me
from wa_sessions.keys.baileys.peers import DeviceList, IdentityKey, PreKey, SenderKeyMemory, Token
from wa_sessions.keys.baileys.rows import BaileysPhone, OtherKey
from wa_sessions.keys.baileys.sender_key import SenderKey
from wa_sessions.keys.baileys.session import Session
from wa_sessions.keys.conversion import app_state, sender_keys, sessions
from wa_sessions.keys.conversion.crypto import bare
from wa_sessions.keys.conversion.people import People
from wa_sessions.keys.conversion.remarks import Converted, Remarks
from wa_sessions.keys.device_address import PN, Address
from wa_sessions.keys.fields import BadKey
from wa_sessions.keys.key_types import key_type
from wa_sessions.keys.phone_ref import device_of, number_of
from wa_sessions.keys.whatsmeow import plain
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone
from wa_sessions.keys.whatsmeow.sender_key import SenderKey as GoSenderKey
from wa_sessions.keys.whatsmeow.session import Session as GoSession

NOT_NEEDED: Final = {
    SenderKeyMemory: "not needed: whatsmeow sends the sender key with every message to a group",
    DeviceList: "not needed: whatsmeow asks WhatsApp for it",
    OtherKey: "of no known type",
}


def to_whatsmeow(
    phone: BaileysPhone, *, fresh_pre_key: bytes, lid_map: Iterable[tuple[str, str]] = ()
) -> Converted[WhatsmeowPhone]:
    """The same linked device in whatsmeow's records; raises BadKey where ``refusals`` says that it was never paired.

    ``fresh_pre_key`` is the private half of a new pre-key (32 random bytes), used where whatsmeow would otherwise give
    out a number anew that Baileys gave out already. ``lid_map`` are pairs of LID and number that are known from
    elsewhere, most of all from ``whatsmeow_lid_map``: they come before what the phone's own keys tell.
    """
    creds = phone.creds
    if creds.account is None or creds.me is None:
        raise BadKey(Creds.key, "the phone was never paired")
    remarks = Remarks()
    people = People.of(phone, lid_map, remarks)
    _say_what_is_not_needed(phone, remarks)
    found = _sessions(phone, people, remarks)
    versions, macs = _versions(phone, remarks)
    return remarks.converted(
        WhatsmeowPhone(
            device=_device(creds, creds.me, creds.account, remarks),
            pre_keys=_pre_keys(phone, fresh_pre_key),
            identity_keys=_identities(phone, creds.me, creds.account, people, found, remarks),
            sessions=found,
            sender_keys=_sender_keys(phone, people, remarks),
            app_state_keys=tuple(_app_state_key(record) for record in phone.records if isinstance(record, AppStateKey)),
            app_state_versions=versions,
            mutation_macs=macs,
            privacy_tokens=_tokens(phone, remarks),
            lid_map=tuple(plain.LidPair(lid, number) for number, lid in people.lids.items()),
        )
    )


def _device(creds: Creds, me: Me, account: Account, remarks: Remarks) -> plain.Device:
    platform, name = _storable(creds.platform), _storable(me.name)
    if not me.lid:
        remarks.notice(Creds.key, "it does not say which LID is ours: WhatsApp tells it at the next login")
    return plain.Device(
        jid=me.jid,
        lid=own_lid(me),
        registration_id=creds.registration_id,
        noise_key=creds.noise.private,
        identity_key=creds.identity.private,
        signed_pre_key=creds.signed_pre_key.private,
        signed_pre_key_id=creds.signed_pre_key_id,
        signed_pre_key_sig=creds.signed_pre_key_signature,
        adv_key=creds.adv_secret,
        adv_details=account.details,
        adv_account_sig=account.signature,
        adv_account_sig_key=account.signature_key,
        adv_device_sig=account.device_signature,
        platform=platform,
        business_name=name if platform.startswith("smb") else "",
        push_name=name,
    )


def own_lid(me: Me) -> str | None:
    """Our LID with the device, which some versions of Baileys leave out."""
    if not me.lid or device_of(me.lid) is not None:
        return me.lid or None
    return f"{number_of(me.lid)}:{device_of(me.jid)}@lid"


def _pre_keys(phone: BaileysPhone, fresh: bytes) -> tuple[plain.PreKey, ...]:
    """whatsmeow numbers new ones from the highest on: never may it use a number again that Baileys gave out."""
    creds = phone.creds
    keys = [
        plain.PreKey(record.id, record.pair.private, record.id < creds.first_unuploaded_pre_key_id)
        for record in phone.records
        if isinstance(record, PreKey)
    ]
    if max((key.key_id for key in keys), default=0) < creds.next_pre_key_id - 1:
        keys.append(plain.PreKey(creds.next_pre_key_id, fresh, uploaded=False))
    return tuple(keys)


def _sessions(phone: BaileysPhone, people: People, remarks: Remarks) -> tuple[GoSession, ...]:
    rows: defaultdict[Address, list[Session]] = defaultdict(list)
    for record in phone.records:
        if isinstance(record, Session):
            rows[people.address(record.address)].append(record)
    identity, registration_id = phone.creds.identity.public, phone.creds.registration_id
    found = []
    for address, same in rows.items():
        if len(same) > 1:
            both = " and ".join(record.key for record in same)
            remarks.notice(f"session-{address.baileys}", f"{both} are one device: put together")
        if session := sessions.to_go(address, same, identity, registration_id, remarks):
            found.append(session)
    return tuple(found)


def _sender_keys(phone: BaileysPhone, people: People, remarks: Remarks) -> tuple[GoSenderKey, ...]:
    rows: defaultdict[tuple[str, Address], list[SenderKey]] = defaultdict(list)
    for record in phone.records:
        if isinstance(record, SenderKey):
            rows[record.group, people.address(record.address)].append(record)
    found = (sender_keys.to_go(group, address, same, remarks) for (group, address), same in rows.items())
    return tuple(key for key in found if key)


def _identities(
    phone: BaileysPhone, me: Me, account: Account, people: People, found: tuple[GoSession, ...], remarks: Remarks
) -> tuple[plain.IdentityKey, ...]:
    """Of each device that a session or Baileys 7 knows; that of a session counts, or whatsmeow would not trust it."""
    primary = people.address(Address(number_of(me.jid), PN, 0))
    identities = {primary: account.signature_key}
    for record in phone.records:
        if isinstance(record, IdentityKey):
            identities[people.address(record.address)] = bare(record.public)
    for session in found:
        identity = bare(session.current.remote_identity)
        if identities.setdefault(session.address, identity) != identity:
            remarks.notice(f"identity-key-{session.address.baileys}", "another than that of the session, which is kept")
            identities[session.address] = identity
    return tuple(plain.IdentityKey(address, identity) for address, identity in identities.items())


def _app_state_key(record: AppStateKey) -> plain.AppStateKey:
    return plain.AppStateKey(record.id, record.data, record.timestamp, app_state.to_protobuf(record.fingerprint))


def _versions(
    phone: BaileysPhone, remarks: Remarks
) -> tuple[tuple[plain.AppStateVersion, ...], tuple[plain.MutationMac, ...]]:
    """Those whose hash is that of their values. With a hash that has drifted, whatsmeow would reject all that comes."""
    versions, macs = [], []
    for record in phone.records:
        if not isinstance(record, AppStateVersion):
            continue
        if not record.version:
            remarks.left_out(record.key, "it was never synced: whatsmeow syncs it from the start")
        elif app_state.lthash(record.value_macs.values()) != record.hash:
            remarks.left_out(record.key, "its hash does not fit its values: whatsmeow syncs it from the start")
        else:
            versions.append(plain.AppStateVersion(record.name, record.version, record.hash))
            macs += [
                plain.MutationMac(record.name, record.version, index, mac) for index, mac in record.value_macs.items()
            ]
    return tuple(versions), tuple(macs)


def _tokens(phone: BaileysPhone, remarks: Remarks) -> tuple[plain.PrivacyToken, ...]:
    tokens = []
    for record in phone.records:
        if isinstance(record, Token):
            if record.token and record.timestamp is not None:
                tokens.append(plain.PrivacyToken(record.jid, record.token, record.timestamp, record.sender_timestamp))
            else:
                remarks.left_out(record.key, "it holds no token")
    return tuple(tokens)


def _say_what_is_not_needed(phone: BaileysPhone, remarks: Remarks) -> None:
    for damaged in phone.damaged:
        remarks.left_out(damaged.key, f"damaged: {damaged.what}")
    for kind, why in NOT_NEEDED.items():
        if keys := [record.key for record in phone.records if isinstance(record, kind)]:
            remarks.left_out(key_type(keys[0]), why, len(keys))


def _storable(text: str | None) -> str:
    """A text as Postgres takes it: without NUL and halves of characters."""
    return (text or "").replace("\0", "").encode(errors="replace").decode()
