"""Curve25519, XEdDSA, HKDF, HMAC and AES as WhatsApp combines them."""

import hashlib
import hmac
import os

import xeddsa.bindings as xeddsa
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

DJB_TYPE = b"\x05"  # libsignal writes it before every Curve25519 public key


class KeyPair:
    """A Curve25519 key pair that agrees on secrets and signs."""

    def __init__(self) -> None:
        self._private = os.urandom(32)
        self._key = X25519PrivateKey.from_private_bytes(self._private)
        self.public = self._key.public_key().public_bytes_raw()

    def agree(self, public: bytes) -> bytes:
        return self._key.exchange(X25519PublicKey.from_public_bytes(public))

    def sign(self, message: bytes) -> bytes:
        """XEdDSA with the Edwards sign bit forced to 0, as libsignal verifies it."""
        private = xeddsa.priv_force_sign(self._private, False)
        return bytes(xeddsa.ed25519_priv_sign(private, message, os.urandom(64)))


def hkdf(secret: bytes, length: int, info: bytes = b"", salt: bytes | None = None) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def hmac_sha256(key: bytes, *parts: bytes) -> bytes:
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def hmac_sha512(key: bytes, *parts: bytes) -> bytes:
    return hmac.new(key, b"".join(parts), hashlib.sha512).digest()


def aes_cbc(key: bytes, iv: bytes, plain: bytes) -> bytes:
    """AES-CBC with PKCS #7 padding."""
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()


def aes_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES-CTR, the same both ways."""
    return Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor().update(data)


def flip(data: bytes, at: int) -> bytes:
    """The same bytes with one bit of the byte at this place turned over."""
    out = bytearray(data)
    out[at] ^= 1
    return bytes(out)
