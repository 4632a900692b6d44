"""Noise_XX_25519_AESGCM_SHA256 as WhatsApp speaks it, the server's side (whatsmeow: ``handshake.go``, ``socket/``)."""

import hashlib
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wa_sessions.emulator.crypto import KeyPair, hkdf
from wa_sessions.emulator.errors import Malformed
from wa_sessions.emulator.neonize_files import cert, parse, wa6

PATTERN = b"Noise_XX_25519_AESGCM_SHA256\0\0\0\0"
HEADER_MAGIC = b"WA\x06"
HEADER_SIZE = 4
LENGTH_SIZE = 3
ROOT_SERIAL, INTERMEDIATE_SERIAL, LEAF_SERIAL = 0, 1, 2
DAY = 86400


class NoiseState:
    """The symmetric state of a handshake: a running hash, a chaining key and a counting cipher."""

    def __init__(self, header: bytes) -> None:
        self._hash = self._salt = PATTERN
        self._cipher, self._counter = AESGCM(PATTERN), 0
        self.mix_hash(header)

    def mix_hash(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def mix_key(self, secret: bytes) -> None:
        keys = hkdf(secret, 64, salt=self._salt)
        self._salt, self._cipher, self._counter = keys[:32], AESGCM(keys[32:]), 0

    def encrypt(self, plain: bytes) -> bytes:
        sealed = self._cipher.encrypt(nonce(self._counter), plain, self._hash)
        self._counter += 1
        self.mix_hash(sealed)
        return sealed

    def decrypt(self, sealed: bytes) -> bytes:
        plain = _open(self._cipher, self._counter, sealed, self._hash)
        self._counter += 1
        self.mix_hash(sealed)
        return plain

    def split(self) -> tuple[bytes, bytes]:
        """The keys for what the client writes and what the server writes."""
        keys = hkdf(b"", 64, salt=self._salt)
        return keys[:32], keys[32:]


class Direction:
    """One direction of a connection after its handshake: a key and a counter."""

    def __init__(self, key: bytes) -> None:
        self._cipher, self._counter = AESGCM(key), 0

    def seal(self, plain: bytes) -> bytes:
        self._counter += 1
        return self._cipher.encrypt(nonce(self._counter - 1), plain, None)

    def open(self, sealed: bytes) -> bytes:
        self._counter += 1
        return _open(self._cipher, self._counter - 1, sealed, None)


def nonce(counter: int) -> bytes:
    return struct.pack(">8xI", counter)


def _open(cipher: AESGCM, counter: int, sealed: bytes, extra: bytes | None) -> bytes:
    try:
        return cipher.decrypt(nonce(counter), sealed, extra)
    except (InvalidTag, ValueError) as error:
        raise Malformed("a frame that does not authenticate") from error


@dataclass(frozen=True)
class ServerIdentity:
    """The server's static key and the certificates that lead from it to a root of its own."""

    static: KeyPair = field(default_factory=KeyPair)
    root: KeyPair = field(default_factory=KeyPair)
    intermediate: KeyPair = field(default_factory=KeyPair)

    def certificates(self) -> bytes:
        """A chain as ``verifyServerCert`` wants it: root signs intermediate, which signs the leaf."""
        now = int(time.time())

        def details(serial: int, issuer: int, key: KeyPair) -> bytes:
            made = cert.CertChain.NoiseCertificate.Details(
                serial=serial, issuerSerial=issuer, key=key.public, notBefore=now - DAY, notAfter=now + 30 * DAY
            )
            return bytes(made.SerializeToString())

        chain = cert.CertChain()
        chain.intermediate.details = details(INTERMEDIATE_SERIAL, ROOT_SERIAL, self.intermediate)
        chain.intermediate.signature = self.root.sign(chain.intermediate.details)
        chain.leaf.details = details(LEAF_SERIAL, INTERMEDIATE_SERIAL, self.static)
        chain.leaf.signature = self.intermediate.sign(chain.leaf.details)
        return bytes(chain.SerializeToString())


@dataclass(frozen=True)
class Hello:
    """What a client has said by the end of its handshake."""

    payload: Any
    noise_key: bytes
    incoming: Direction
    outgoing: Direction


class Responder:
    """The server's two steps of one handshake: answer the hello, read the finish."""

    def __init__(self, identity: ServerIdentity, header: bytes) -> None:
        self._identity, self._ephemeral, self._state = identity, KeyPair(), NoiseState(header)

    def answer(self, frame: bytes) -> bytes:
        theirs = parse(wa6.HandshakeMessage, frame).clientHello.ephemeral
        state, identity, ephemeral = self._state, self._identity, self._ephemeral
        state.mix_hash(theirs)
        state.mix_hash(ephemeral.public)
        state.mix_key(_agree(ephemeral, theirs))
        reply = wa6.HandshakeMessage()
        reply.serverHello.ephemeral = ephemeral.public
        reply.serverHello.static = state.encrypt(identity.static.public)
        state.mix_key(_agree(identity.static, theirs))
        reply.serverHello.payload = state.encrypt(identity.certificates())
        return bytes(reply.SerializeToString())

    def finish(self, frame: bytes) -> Hello:
        finish = parse(wa6.HandshakeMessage, frame).clientFinish
        noise_key = self._state.decrypt(finish.static)
        self._state.mix_key(_agree(self._ephemeral, noise_key))
        payload = parse(wa6.ClientPayload, self._state.decrypt(finish.payload))
        theirs, ours = self._state.split()
        return Hello(payload, noise_key, Direction(theirs), Direction(ours))


def _agree(key: KeyPair, public: bytes) -> bytes:
    try:
        return key.agree(public)
    except ValueError as error:
        raise Malformed("not a public key") from error


class Frames:
    """Cuts the byte stream of a WebSocket into frames: a header once, then three bytes of length before each."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.header = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        if not self.header:
            if len(self._buffer) < HEADER_SIZE:
                return
            self.header = bytes(self._buffer[:HEADER_SIZE])
            if not self.header.startswith(HEADER_MAGIC):
                raise Malformed("not a WhatsApp client")
            del self._buffer[:HEADER_SIZE]
        while len(self._buffer) >= LENGTH_SIZE:
            end = LENGTH_SIZE + int.from_bytes(self._buffer[:LENGTH_SIZE], "big")
            if len(self._buffer) < end:
                return
            frame = bytes(self._buffer[LENGTH_SIZE:end])
            del self._buffer[:end]
            yield frame


def frame(data: bytes) -> bytes:
    return len(data).to_bytes(LENGTH_SIZE, "big") + data
