"""The Noise handshake against a client written out here, and frames cut anywhere."""

import struct

import pytest
import xeddsa.bindings as xeddsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.emulator.crypto import KeyPair
from wa_sessions.emulator.errors import Malformed
from wa_sessions.emulator.neonize_files import cert, wa6
from wa_sessions.emulator.noise import Frames, NoiseState, Responder, ServerIdentity, frame

HEADER = b"WA\x06\x03"


def verified(public: bytes, signature: bytes, message: bytes) -> bool:
    return bool(xeddsa.ed25519_verify(signature, xeddsa.curve25519_pub_to_ed25519_pub(public, False), message))


class Initiator:
    """A client's side of the handshake."""

    def __init__(self, root: bytes) -> None:
        self.root, self.key, self.ephemeral, self.state = root, KeyPair(), KeyPair(), NoiseState(HEADER)

    def hello(self) -> bytes:
        message = wa6.HandshakeMessage()
        message.clientHello.ephemeral = self.ephemeral.public
        self.state.mix_hash(self.ephemeral.public)
        return bytes(message.SerializeToString())

    def finish(self, answer: bytes, payload: bytes) -> bytes:
        hello = wa6.HandshakeMessage.FromString(answer).serverHello
        self.state.mix_hash(hello.ephemeral)
        self.state.mix_key(self.ephemeral.agree(hello.ephemeral))
        static = self.state.decrypt(hello.static)
        self.state.mix_key(self.ephemeral.agree(static))
        self.verify(self.state.decrypt(hello.payload), static)
        message = wa6.HandshakeMessage()
        message.clientFinish.static = self.state.encrypt(self.key.public)
        self.state.mix_key(self.key.agree(hello.ephemeral))
        message.clientFinish.payload = self.state.encrypt(payload)
        return bytes(message.SerializeToString())

    def verify(self, certificates: bytes, static: bytes) -> None:
        chain = cert.CertChain.FromString(certificates)
        details = cert.CertChain.NoiseCertificate.Details
        intermediate, leaf = (details.FromString(c.details) for c in (chain.intermediate, chain.leaf))
        assert verified(self.root, chain.intermediate.signature, chain.intermediate.details)
        assert verified(intermediate.key, chain.leaf.signature, chain.leaf.details)
        assert (leaf.key, leaf.issuerSerial, intermediate.issuerSerial) == (static, intermediate.serial, 0)


def test_both_sides_end_with_the_same_keys() -> None:
    identity = ServerIdentity()
    client, server = Initiator(identity.root.public), Responder(identity, HEADER)
    payload = wa6.ClientPayload(username=77051234567, device=3).SerializeToString()
    hello = server.finish(client.finish(server.answer(client.hello()), payload))
    assert (hello.payload.username, hello.payload.device) == (77051234567, 3)
    assert hello.noise_key == client.key.public
    write, read = (AESGCM(key) for key in client.state.split())
    for counter in range(3):
        nonce = struct.pack(">8xI", counter)
        assert hello.incoming.open(write.encrypt(nonce, b"up", None)) == b"up"
        assert read.decrypt(nonce, hello.outgoing.seal(b"down"), None) == b"down"
    with pytest.raises(Malformed):
        hello.incoming.open(write.encrypt(struct.pack(">8xI", 9), b"out of turn", None))


def test_a_hello_that_is_none_is_malformed() -> None:
    for hello in (b"", b"garbage", wa6.HandshakeMessage().SerializeToString()):
        with pytest.raises(Malformed):
            Responder(ServerIdentity(), HEADER).answer(hello)


def test_a_finish_of_another_handshake_is_malformed() -> None:
    identity = ServerIdentity()
    client, server, other = Initiator(identity.root.public), *(Responder(identity, HEADER) for _ in range(2))
    finish = client.finish(server.answer(client.hello()), b"")
    other.answer(Initiator(identity.root.public).hello())
    with pytest.raises(Malformed):
        other.finish(finish)


@given(st.lists(st.binary(max_size=400), max_size=6), st.lists(st.integers(1, 50), min_size=1))
def test_frames_come_whole_however_they_are_cut(sent: list[bytes], sizes: list[int]) -> None:
    stream, frames, at = HEADER + b"".join(map(frame, sent)), Frames(), 0
    received: list[bytes] = []
    for i in range(len(stream)):
        piece = stream[at : at + sizes[i % len(sizes)]]
        received += frames.feed(piece)
        at += len(piece)
    assert frames.header == HEADER
    assert received == sent


def test_another_protocol_is_noticed_at_once() -> None:
    with pytest.raises(Malformed):
        list(Frames().feed(b"GET /"))
