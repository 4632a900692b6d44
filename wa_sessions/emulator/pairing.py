"""Linking a client to a phone, by QR code or by an eight-character code (whatsmeow: ``pair.go``, ``pair-code.go``)."""

import asyncio
import base64
import binascii
import hashlib
import os
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wa_sessions.emulator.accounts import Device, Phone, PreKey
from wa_sessions.emulator.connection import Connection
from wa_sessions.emulator.crypto import KeyPair, aes_ctr, hkdf, hmac_sha256
from wa_sessions.emulator.errors import Malformed, NotWaiting, PairingRefused
from wa_sessions.emulator.neonize_files import adv
from wa_sessions.emulator.network import Network
from wa_sessions.emulator.stanza import SERVER_JID, Attrs, Node

ACCOUNT_SIGNATURE_PREFIX = b"\x06\x00"
CODE_ROUNDS = 2 << 16
QR_CODES = 6  # that a client is offered at once


class PairingFault(StrEnum):
    """What a client finds wrong with the identity that it is given, and refuses."""

    HMAC = "hmac"
    SIGNATURE = "signature"


@dataclass
class CodeExchange:
    """A pairing by code: the client's wrapped key, and what the phone makes of it."""

    number: str
    ref: bytes
    wrapped: bytes
    phone: Phone | None = None
    shared: bytes = b""
    device: asyncio.Future[Device] | None = None


@dataclass(eq=False)
class Waiting:
    """A client without an account, which shows QR codes and may ask for a code."""

    connection: Connection
    registration: Any
    refs: list[str]
    taken: bool = False
    exchange: CodeExchange | None = None
    offers: dict[str, Device] = field(default_factory=dict)


class Pairing:
    """The clients that wait to be linked."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._clients: dict[Connection, Waiting] = {}

    async def begin(self, connection: Connection, registration: Any) -> None:
        """Offer a client the references that its QR codes will carry, one after another."""
        refs = [base64.b64encode(os.urandom(24)).decode() for _ in range(QR_CODES)]
        self._clients[connection] = Waiting(connection, registration, refs)
        offer = Node("pair-device", {}, [Node("ref", {}, ref.encode()) for ref in refs])
        await connection.send(self._request(offer))

    def end(self, connection: Connection) -> None:
        client = self._clients.pop(connection, None)
        if client and client.exchange and client.exchange.device and not client.exchange.device.done():
            client.exchange.device.set_exception(NotWaiting("the client went away while it was being linked"))

    async def scan(self, qr: str, phone: Phone, fault: PairingFault | None) -> Device:
        """The phone scans a QR code; what the client is told then is true, or has that fault."""
        parts = qr.rpartition("#")[2].split(",")
        client = next((c for c in self._clients.values() if parts[0] in c.refs and not c.taken), None)
        if client is None or len(parts) < 4:
            raise NotWaiting("no client waits for this QR code")
        try:
            noise_key, identity, secret = (base64.b64decode(part, validate=True) for part in parts[1:4])
        except binascii.Error as error:
            raise NotWaiting("this QR code cannot be read") from error
        if (noise_key, identity) != (client.connection.noise_key, client.registration.eIdent):
            raise NotWaiting("the QR code names other keys than the client that waits")
        return await self._offer(client, phone, secret, fault)

    async def enter_code(self, phone: Phone, code: str) -> Device:
        """The code that a client shows is typed on the phone."""
        client = next((c for c in self._clients.values() if _wants(c, phone.number)), None)
        if client is None or client.exchange is None:
            raise NotWaiting(f"no client waits for {phone.number} to type a code")
        exchange, letters, ephemeral = client.exchange, code.replace("-", "").encode(), KeyPair()
        salt, iv, sealed = exchange.wrapped[:32], exchange.wrapped[32:48], exchange.wrapped[48:80]
        public = aes_ctr(await _stretch(letters, salt), iv, sealed)
        exchange.phone, exchange.shared = phone, ephemeral.agree(public)
        exchange.device = asyncio.get_running_loop().create_future()
        salt, iv = os.urandom(32), os.urandom(16)
        wrapped = salt + iv + aes_ctr(await _stretch(letters, salt), iv, ephemeral.public)
        parts = {
            "link_code_pairing_ref": exchange.ref,
            "link_code_pairing_wrapped_primary_ephemeral_pub": wrapped,
            "primary_identity_pub": phone.identity.public,
        }
        hello = Node("link_code_companion_reg", {"stage": "primary_hello"}, [Node(k, {}, v) for k, v in parts.items()])
        attrs: Attrs = {"from": SERVER_JID, "type": hello.tag, "id": self._network.new_id(), "t": int(time.time())}
        await client.connection.send(Node("notification", attrs, [hello]))
        return await exchange.device

    async def link_code(self, connection: Connection, iq: Node) -> None:
        """A client's two requests on the way to a pairing by code."""
        client = self._clients.get(connection)
        if client is None:
            raise Malformed("a client that is linked asks for a code")
        request = iq.need("link_code_companion_reg")
        attrs: Attrs = {"from": SERVER_JID, "type": "result", "id": iq.text("id")}
        if request.text("stage") == "companion_hello":
            wrapped = request.data("link_code_pairing_wrapped_companion_ephemeral_pub")
            client.exchange = CodeExchange(request.jid("jid").user, os.urandom(12), wrapped)
            answer = Node(request.tag, {}, [Node("link_code_pairing_ref", {}, client.exchange.ref)])
            await connection.send(Node("iq", attrs, [answer]))
            return
        await connection.send(Node("iq", attrs))
        await self._finish_code(client, request.data("link_code_pairing_wrapped_key_bundle"))

    async def _finish_code(self, client: Waiting, bundle: bytes) -> None:
        exchange = client.exchange
        if exchange is None or exchange.phone is None or exchange.device is None or exchange.device.done():
            raise Malformed("a client finishes a pairing that nobody began")
        try:
            secret = _open_bundle(exchange.shared, exchange.phone, client.registration.eIdent, bundle)
        except InvalidTag:
            exchange.device.set_exception(PairingRefused("this is not the code that the client shows"))
            return
        device = await self._offer(client, exchange.phone, secret, None)
        if not exchange.device.done():
            exchange.device.set_result(device)

    async def _offer(self, client: Waiting, phone: Phone, secret: bytes, fault: PairingFault | None) -> Device:
        """Tell the client which account it belongs to, in words that its phone has signed."""
        told = client.registration
        device_id = max(phone.all_devices, default=0) + 1
        signed_prekey = PreKey(told.eSkeyID, told.eSkeyVal, told.eSkeySig)
        key = client.connection.noise_key
        device = Device(phone, device_id, key, told.eIdent, told.eRegid, signed_prekey)
        phone.all_devices[device_id] = device
        client.taken = True
        success = Node(
            "pair-success",
            {},
            [
                Node("device-identity", {}, _signed_identity(phone, device, secret, fault)),
                Node("device", {"jid": device.jid, "lid": device.lid}),
                Node("platform", {"name": "android"}),
            ],
        )
        request = self._request(success)
        client.offers[request.text("id")] = device
        await client.connection.send(request)
        return device

    def answered(self, connection: Connection, iq: Node) -> bool:
        """Note a client's answer to an offer; True if it is linked now."""
        client = self._clients.get(connection)
        device = client.offers.pop(iq.text("id"), None) if client else None
        if device is None:
            return False
        device.confirmed = iq.text("type") == "result"
        device.removed = not device.confirmed
        if device.confirmed:
            self._network.devices_changed(device.phone)
        self._network.changes.announce()
        return device.confirmed

    def _request(self, content: Node) -> Node:
        attrs: Attrs = {"from": SERVER_JID, "type": "set", "id": self._network.new_id(), "xmlns": "md"}
        return Node("iq", attrs | {"t": int(time.time())}, [content])


def _wants(client: Waiting, number: str) -> bool:
    return not client.taken and client.exchange is not None and client.exchange.number == number


async def _stretch(code: bytes, salt: bytes) -> bytes:
    return await asyncio.to_thread(hashlib.pbkdf2_hmac, "sha256", code, salt, CODE_ROUNDS, 32)


def _open_bundle(shared: bytes, phone: Phone, client_identity: bytes, bundle: bytes) -> bytes:
    """Check the identities that the client has sealed; returns the secret that both sides derive."""
    key = hkdf(shared, 32, b"link_code_pairing_key_bundle_encryption_key", bundle[:32])
    plain = AESGCM(key).decrypt(bundle[32:44], bundle[44:], None)
    if plain[:64] != client_identity + phone.identity.public:
        raise Malformed("a key bundle names other identities")
    return hkdf(shared + phone.identity.agree(client_identity) + plain[64:], 32, b"adv_secret")


def _signed_identity(phone: Phone, device: Device, secret: bytes, fault: PairingFault | None) -> bytes:
    """The companion's identity key, signed by the phone's (whatsmeow: ``handlePair``)."""
    identity = os.urandom(32) if fault is PairingFault.SIGNATURE else device.identity
    details = adv.ADVDeviceIdentity(rawID=1, timestamp=int(time.time()), keyIndex=device.id).SerializeToString()
    signed = adv.ADVSignedDeviceIdentity(
        details=details,
        accountSignatureKey=phone.identity.public,
        accountSignature=phone.identity.sign(ACCOUNT_SIGNATURE_PREFIX + details + identity),
    ).SerializeToString()
    mac = hmac_sha256(os.urandom(32) if fault is PairingFault.HMAC else secret, signed)
    return bytes(adv.ADVSignedDeviceIdentityHMAC(details=signed, HMAC=mac).SerializeToString())
