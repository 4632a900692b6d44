"""An account's app state: collections of encrypted mutations under a homomorphic hash (whatsmeow: ``appstate/``)."""

import json
import os
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from wa_sessions.emulator.crypto import aes_cbc, flip, hkdf, hmac_sha256, hmac_sha512
from wa_sessions.emulator.errors import Malformed
from wa_sessions.emulator.neonize_files import action, parse, sync

HASH_SIZE = 128
MAC_SIZE = 32  # it ends the blob of a value
CIPHERTEXT_BYTE = 20  # behind the 16 bytes of the IV
UNKNOWN_KEY = bytes.fromhex("0000deadbeef")
COLLECTIONS = ("critical_block", "critical_unblock_low", "regular_high", "regular", "regular_low")


class AppStateDamage(StrEnum):
    """What a collection can suffer from: each is an error of its own in whatsmeow."""

    CONTENT_MAC = "content-mac"
    INDEX_MAC = "index-mac"
    LTHASH = "lthash"
    PATCH_MAC = "patch-mac"
    MISSING_KEY = "missing-key"
    SNAPSHOT_CONTENT = "snapshot-content"
    SNAPSHOT_LTHASH = "snapshot-lthash"
    SNAPSHOT_MEDIA = "snapshot-media"
    SNAPSHOT_MISSING = "snapshot-missing"

    @property
    def needs_snapshot(self) -> bool:
        return self.value.startswith("snapshot-")


def lthash(base: bytes, subtract: Iterable[bytes], add: Iterable[bytes]) -> bytes:
    """The hash of a set after taking members out and putting members in, in any order (``appstate/lthash``)."""
    words = list(struct.unpack("<64H", base))
    for members, sign in ((subtract, -1), (add, 1)):
        for member in members:
            expanded = struct.unpack("<64H", hkdf(member, HASH_SIZE, b"WhatsApp Patch Integrity"))
            words = [(word + sign * other) & 0xFFFF for word, other in zip(words, expanded, strict=True)]
    return struct.pack("<64H", *words)


@dataclass(frozen=True)
class Keys:
    """The keys that an app-state key expands to (``appstate/keys.go``)."""

    index: bytes
    value: bytes
    value_mac: bytes
    snapshot_mac: bytes
    patch_mac: bytes

    @classmethod
    def expand(cls, secret: bytes) -> "Keys":
        keys = hkdf(secret, 160, b"WhatsApp Mutation Keys")
        return cls(*(keys[at : at + 32] for at in range(0, 160, 32)))


@dataclass(frozen=True)
class Entry:
    """One patch as the server keeps it, with the hash that it starts from."""

    patch: Any
    hash_before: bytes


@dataclass
class Collection:
    version: int = 0
    hash: bytes = bytes(HASH_SIZE)
    entries: list[Entry] = field(default_factory=list)
    records: dict[bytes, Any] = field(default_factory=dict)

    def hash_after(self, patch: Any) -> bytes:
        """The hash once this patch is kept."""
        indices = {mutation.record.index.blob for mutation in patch.mutations}
        replaced = [_value_mac(self.records[index]) for index in indices & self.records.keys()]
        return lthash(self.hash, replaced, (_value_mac(m.record) for m in patch.mutations if _sets(m)))

    def keep(self, patch: Any, state: bytes) -> int:
        """Add a patch, and the hash that it leads to; returns the new version."""
        self.entries.append(Entry(patch, self.hash))
        self.hash, self.version = state, self.version + 1
        for mutation in patch.mutations:
            if _sets(mutation):
                self.records[mutation.record.index.blob] = mutation.record
            else:
                self.records.pop(mutation.record.index.blob, None)
        return self.version


def _sets(mutation: Any) -> bool:
    return bool(mutation.operation == sync.SyncdMutation.SET)


def _value_mac(record: Any) -> bytes:
    return bytes(record.value.blob[-MAC_SIZE:])


class AppState:
    """The collections of one account and the key that encrypts them."""

    def __init__(self) -> None:
        self.key_id, self.key = b"\0\0" + os.urandom(4), os.urandom(32)
        self._keys = Keys.expand(self.key)
        self._collections = {name: Collection() for name in COLLECTIONS}

    def version(self, name: str) -> int:
        return self._collections[name].version

    def append(self, name: str, index: Sequence[str], value: Any) -> int:
        """Add one valid patch that sets one value; returns the collection's new version."""
        collection = self._collections[name]
        written = json.dumps(list(index), separators=(",", ":")).encode()
        patch = sync.SyncdPatch()
        patch.version.version, patch.keyID.ID = collection.version + 1, self.key_id
        mutation = patch.mutations.add(operation=sync.SyncdMutation.SET)
        mutation.record.index.blob = hmac_sha256(self._keys.index, written)
        mutation.record.value.blob = self._seal(written, value)
        mutation.record.keyID.ID = self.key_id
        state = collection.hash_after(patch)
        self._sign(patch, name, state)
        return collection.keep(patch, state)

    def accept(self, name: str, version: int, data: bytes) -> bool:
        """Keep a patch that a client has made; False if ``version``, which it builds upon, is not the newest.

        Raises Malformed where it is signed for another key or state than the phone's, which a phone would not sync.
        """
        collection, patch = self._collections[name], parse(sync.SyncdPatch, data)
        if version != collection.version:
            return False
        patch.version.version = version + 1
        state, told = collection.hash_after(patch), (bytes(patch.snapshotMAC), bytes(patch.patchMAC))
        self._sign(patch, name, state)
        if told != (patch.snapshotMAC, patch.patchMAC):
            raise Malformed(f"a patch of {name} for another key or another state than the phone's")
        collection.keep(patch, state)
        return True

    def patches_since(self, name: str, version: int, damage: AppStateDamage | None = None) -> list[bytes]:
        """The patches that a client at this version lacks, each damaged in that way if there is one."""
        entries = self._collections[name].entries[version:]
        patches = [self._damaged(entry, name, damage) if damage else entry.patch for entry in entries]
        return [bytes(patch.SerializeToString()) for patch in patches]

    def snapshot(self, name: str, damage: AppStateDamage | None = None) -> bytes:
        """The whole collection at its present version."""
        collection = self._collections[name]
        snapshot = sync.SyncdSnapshot(records=list(collection.records.values()))
        snapshot.version.version, snapshot.keyID.ID = collection.version, self.key_id
        snapshot.mac = self._snapshot_mac(name, collection.version, collection.hash)
        if damage is AppStateDamage.SNAPSHOT_CONTENT:
            value = snapshot.records[0].value
            value.blob = flip(value.blob, CIPHERTEXT_BYTE)
        elif damage is AppStateDamage.SNAPSHOT_LTHASH:
            snapshot.mac = flip(snapshot.mac, 0)
        return bytes(snapshot.SerializeToString())

    def _seal(self, index: bytes, value: Any) -> bytes:
        """The encrypted value, with the MAC that authenticates it (``generateContentMAC``)."""
        value.timestamp = int(time.time() * 1000)
        data = action.SyncActionData(index=index, value=value, padding=b"", version=2).SerializeToString()
        iv = os.urandom(16)
        blob = iv + aes_cbc(self._keys.value, iv, data)
        length = struct.pack(">Q", len(self.key_id) + 1)
        return blob + hmac_sha512(self._keys.value_mac, b"\x01", self.key_id, blob, length)[:MAC_SIZE]

    def _snapshot_mac(self, name: str, version: int, state: bytes) -> bytes:
        return hmac_sha256(self._keys.snapshot_mac, state, struct.pack(">Q", version), name.encode())

    def _sign(self, patch: Any, name: str, state: bytes) -> None:
        version = patch.version.version
        patch.snapshotMAC = self._snapshot_mac(name, version, state)
        parts = (*(_value_mac(m.record) for m in patch.mutations), struct.pack(">Q", version), name.encode())
        patch.patchMAC = hmac_sha256(self._keys.patch_mac, patch.snapshotMAC, *parts)

    def _damaged(self, entry: Entry, name: str, damage: AppStateDamage) -> Any:
        patch = sync.SyncdPatch()
        patch.CopyFrom(entry.patch)
        record = patch.mutations[0].record
        if damage is AppStateDamage.CONTENT_MAC:
            record.value.blob = flip(record.value.blob, CIPHERTEXT_BYTE)
        elif damage is AppStateDamage.INDEX_MAC:
            # An index that nobody has seen replaces nothing: the hash must agree, or LTHash fails first.
            record.index.blob = flip(record.index.blob, 0)
            self._sign(patch, name, lthash(entry.hash_before, [], [_value_mac(record)]))
        elif damage is AppStateDamage.LTHASH:
            patch.snapshotMAC = flip(patch.snapshotMAC, 0)
        elif damage is AppStateDamage.PATCH_MAC:
            patch.patchMAC = flip(patch.patchMAC, 0)
        elif damage is AppStateDamage.MISSING_KEY:
            patch.keyID.ID = record.keyID.ID = UNKNOWN_KEY
        return patch
