"""Encrypted files that clients fetch over HTTP, as WhatsApp hosts media (whatsmeow: ``download.go``)."""

import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass

from wa_sessions.emulator.crypto import aes_cbc, flip, hkdf, hmac_sha256

SHELF_SIZE = 64
SPOILT_BYTE = 5


@dataclass(frozen=True)
class Reference:
    """What a client needs to fetch and open a file."""

    path: str
    key: bytes
    size: int
    sha256: bytes
    encrypted_sha256: bytes


class MediaShelf:
    """The newest files; old ones make room."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._count = 0

    def put(self, data: bytes, info: bytes, *, spoil: bool = False, lose: bool = False) -> Reference:
        """Encrypt and host a file; ``spoil`` breaks its MAC, ``lose`` answers 404 for it."""
        key = os.urandom(32)
        keys = hkdf(key, 112, info)
        iv, cipher_key, mac_key = keys[:16], keys[16:48], keys[48:80]
        encrypted = aes_cbc(cipher_key, iv, data)
        encrypted += hmac_sha256(mac_key, iv, encrypted)[:10]
        self._count += 1
        path = f"/v/emulator/{self._count}"
        if spoil:
            encrypted = flip(encrypted, SPOILT_BYTE)
        if not lose:
            self._files[path] = encrypted
        while len(self._files) > SHELF_SIZE:
            self._files.popitem(last=False)
        hashes = hashlib.sha256(data).digest(), hashlib.sha256(encrypted).digest()
        return Reference(f"{path}?emulator=1", key, len(data), *hashes)

    def get(self, target: str) -> bytes | None:
        return self._files.get(target.partition("?")[0])
