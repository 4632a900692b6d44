"""Phones, which own accounts, and devices, which are the clients linked to them."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wa_sessions.emulator.app_state import AppState
from wa_sessions.emulator.crypto import DJB_TYPE, KeyPair
from wa_sessions.emulator.mailbox import RETRY, Mailbox
from wa_sessions.emulator.stanza import JID, LID, SERVER, Node

if TYPE_CHECKING:
    import asyncio

    from wa_sessions.emulator.connection import Connection

RETRIES_KEPT = 10_000
FEW_PREKEYS = 5  # whatsmeow uploads more from here on (``MinPreKeyCount``)


@dataclass(frozen=True)
class PreKey:
    """A public key that a client has uploaded for others; a signed one carries its signature."""

    id: bytes
    public: bytes
    signature: bytes | None = None


class Phone:
    """A primary phone: its account's identity, its linked devices and its app state."""

    def __init__(self, number: str, lid: str, name: str) -> None:
        self.number, self.lid, self.name = number, lid, name
        self.identity, self._signed = KeyPair(), KeyPair()
        self.signed_prekey = PreKey(b"\0\0\1", self._signed.public, self.identity.sign(DJB_TYPE + self._signed.public))
        self.registration_id = b"\0\0" + os.urandom(2)
        self.app_state = AppState()
        self.all_devices: dict[int, Device] = {}
        self.watchers: set[Device] = set()  # devices that have asked for the list, hence remember it
        self.deaf = False
        self.withheld = False
        self.until_reconnect = False

    @property
    def jid(self) -> JID:
        return JID(self.number)

    @property
    def lid_jid(self) -> JID:
        return JID(self.lid, LID)

    @property
    def devices(self) -> list[Device]:
        """The linked devices that others can write to."""
        return [device for device in self.all_devices.values() if device.confirmed and not device.removed]

    @property
    def newest(self) -> Device | None:
        kept = [device for device in self.all_devices.values() if not device.removed]
        return kept[-1] if kept else None

    def owns(self, jid: JID) -> bool:
        return jid.user in (self.number, self.lid)


@dataclass(eq=False)
class Device:
    """A linked client, known by its Noise key until it is removed."""

    phone: Phone
    id: int
    noise_key: bytes
    identity: bytes
    registration_id: bytes
    signed_prekey: PreKey
    prekeys: deque[PreKey] = field(default_factory=deque)
    connection: Connection | None = None
    active: bool = False
    confirmed: bool = False
    removed: bool = False
    forgotten: bool = False
    uploaded_prekeys: bool = False
    asked_for_prekeys: bool = False
    retry_receipts: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=RETRIES_KEPT))
    logins: int = 0
    delivery: asyncio.Task[None] | None = None
    mailbox: Mailbox = field(init=False)

    def __post_init__(self) -> None:
        self.mailbox = Mailbox(self._holds_back)

    @property
    def jid(self) -> JID:
        return JID(self.phone.number, SERVER, self.id)

    @property
    def lid(self) -> JID:
        return JID(self.phone.lid, LID, self.id)

    @property
    def connected(self) -> bool:
        """Logged in and ready for messages."""
        return self.connection is not None and self.active

    def disconnected(self) -> None:
        """The connection is gone; what it has not acknowledged waits for the next one."""
        if self.delivery is not None:
            self.delivery.cancel()
        self.connection, self.active, self.delivery = None, False, None
        self.mailbox.give_back()

    def _holds_back(self, node: Node) -> bool:
        return self.phone.withheld or (self.forgotten and node.tag == "receipt" and node.text("type") == RETRY)
