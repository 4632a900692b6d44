"""What the primary phone writes to its companions: Signal messages, each in a session of its own.

A new X3DH session for every message keeps the phone without state: the message is always a PreKeySignalMessage
(libsignal: ``session/Builder``, ``protocol/PreKeySignalMessage``), as after any new pairing.
"""

import os
import time
from typing import Any

from wa_sessions.emulator.accounts import Device, Phone, PreKey
from wa_sessions.emulator.crypto import DJB_TYPE, KeyPair, aes_cbc, hkdf, hmac_sha256
from wa_sessions.emulator.neonize_files import e2e
from wa_sessions.emulator.stanza import Attrs, Node
from wa_sessions.emulator.wire import field

VERSION = b"\x33"
DISCONTINUITY = b"\xff" * 32
MAC_SIZE = 8


def text_message(text: str) -> Any:
    return e2e.Message(conversation=text)


def app_state_key_message(phone: Phone) -> Any:
    """The phone shares the key of its app state, as it does with every new companion."""
    message = e2e.Message()
    message.protocolMessage.type = e2e.ProtocolMessage.APP_STATE_SYNC_KEY_SHARE
    key = message.protocolMessage.appStateSyncKeyShare.keys.add()
    key.keyID.keyID, key.keyData.keyData = phone.app_state.key_id, phone.app_state.key
    key.keyData.fingerprint.rawID, key.keyData.fingerprint.currentIndex = 1, 0
    key.keyData.timestamp = int(time.time() * 1000)
    return message


def peer_stanza(device: Device, message: Any, message_id: str, prekey: PreKey | None) -> Node:
    """A message from the phone to this companion alone."""
    phone = device.phone
    attrs: Attrs = {
        "from": phone.lid_jid,
        "id": message_id,
        "t": int(time.time()),
        "type": "text",
        "category": "peer",
        "recipient": phone.lid_jid,
    }
    body = _encrypt(phone, device, _pad(message.SerializeToString()), prekey)
    return Node("message", attrs, [Node("enc", {"v": 2, "type": "pkmsg"}, body)])


def _pad(plain: bytes) -> bytes:
    """1 to 15 bytes that each say how many they are (whatsmeow: ``padMessage``)."""
    count = os.urandom(1)[0] & 15 or 15
    return plain + bytes([count]) * count


def _encrypt(phone: Phone, device: Device, plain: bytes, prekey: PreKey | None) -> bytes:
    signed, base, ratchet = device.signed_prekey, KeyPair(), KeyPair()
    secret = (
        DISCONTINUITY
        + phone.identity.agree(signed.public)
        + base.agree(device.identity)
        + base.agree(signed.public)
        + (base.agree(prekey.public) if prekey else b"")
    )
    root = hkdf(secret, 64, b"WhisperText")[:32]
    chain = hkdf(ratchet.agree(signed.public), 64, b"WhisperRatchet", root)[32:]
    keys = hkdf(hmac_sha256(chain, b"\x01"), 80, b"WhisperMessageKeys")
    inner = (
        VERSION
        + field(1, DJB_TYPE + ratchet.public)
        + field(2, 0)
        + field(3, 0)
        + field(4, aes_cbc(keys[:32], keys[64:], plain))
    )
    identities = DJB_TYPE + phone.identity.public + DJB_TYPE + device.identity
    inner += hmac_sha256(keys[32:64], identities, inner)[:MAC_SIZE]
    return (
        VERSION
        + (field(1, int.from_bytes(prekey.id, "big")) if prekey else b"")
        + field(2, DJB_TYPE + base.public)
        + field(3, DJB_TYPE + phone.identity.public)
        + field(4, inner)
        + field(5, int.from_bytes(phone.registration_id, "big"))
        + field(6, int.from_bytes(signed.id, "big"))
    )
