"""Curve25519 and HKDF, as Signal combines them."""

import xeddsa.bindings as xeddsa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

DJB_TYPE = b"\x05"
"""libsignal writes it before every public key."""


def hkdf(secret: bytes, length: int, info: bytes) -> bytes:
    """Keys from a secret, without salt (RFC 5869, SHA-256)."""
    return HKDF(hashes.SHA256(), length, None, info).derive(secret)


def public_half(private: bytes) -> bytes:
    """The 32 bytes of the public key that belongs to a private one of 32."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def marked(public: bytes) -> bytes:
    """A public key of 32 or 33 bytes as libsignal keeps it: 33."""
    return DJB_TYPE + public if len(public) == 32 else public


def bare(public: bytes) -> bytes:
    """A public key of 32 or 33 bytes as Curve25519 has it: 32."""
    return public[-32:]


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a key of 32 bytes signed that (XEdDSA; libsignal keeps the sign of the Edwards point in the last bit)."""
    sign = signature[63] & 0x80
    plain = signature[:63] + bytes([signature[63] & 0x7F])
    edwards = bytes(xeddsa.curve25519_pub_to_ed25519_pub(public, bool(sign)))
    return bool(xeddsa.ed25519_verify(plain, edwards, message))
