"""What the emulated WhatsApp knows: accounts, groups, faults, what waits for whom, and what has been said."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from wa_sessions.emulator.accounts import FEW_PREKEYS, Device, Phone, PreKey
from wa_sessions.emulator.errors import EmulatorError
from wa_sessions.emulator.faults import Delay, Faults, Silence
from wa_sessions.emulator.logins import Logins
from wa_sessions.emulator.media import MediaShelf
from wa_sessions.emulator.stanza import JID, SERVER_JID, Attrs, Node

HISTORY_SIZE = 5_000
FIRST_LID = 200_000_000_000_000


class Course(StrEnum):
    """Which way a stanza went."""

    TO_CLIENT = "to-client"
    FROM_CLIENT = "from-client"


@dataclass(frozen=True)
class Stanza:
    """A stanza that went over a connection. ``client`` is the device's address, or ``(unpaired)``."""

    at: float
    course: Course
    client: str
    node: Node


class Changes:
    """Lets a task wait until something is so, without looking again and again."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def announce(self) -> None:
        self._next.set()
        self._next = asyncio.Event()

    async def until(self, is_so: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not is_so():
                await self._next.wait()


class Network:
    """The state of the server. Only the server's own thread touches it."""

    def __init__(self) -> None:
        self.snapshots = False
        self.silence: Silence | None = None
        self.faults = Faults()
        self.media = MediaShelf()
        self.changes = Changes()
        self.history: deque[Stanza] = deque(maxlen=HISTORY_SIZE)
        self.logins = Logins()
        self.groups: dict[str, tuple[Phone, ...]] = {}
        self._phones: dict[str, Phone] = {}
        self._ids = itertools.count(1)

    def new_id(self) -> str:
        return f"emulator-{next(self._ids)}"

    def add_phone(self, number: str, name: str) -> Phone:
        if number in self._phones:
            raise EmulatorError(f"there is a phone {number} already")
        phone = Phone(number, str(FIRST_LID + len(self._phones) // 2 + 1), name)
        self._phones[phone.number] = self._phones[phone.lid] = phone
        return phone

    def phone(self, user: str) -> Phone | None:
        """By number or by LID."""
        return self._phones.get(user)

    def device(self, jid: JID) -> Device | None:
        phone = self._phones.get(jid.user)
        return phone.all_devices.get(jid.device) if phone else None

    def record(self, course: Course, client: str, node: Node) -> None:
        self.history.append(Stanza(time.time(), course, client, node))
        self.changes.announce()

    def deliver(self, device: Device, node: Node, sender: Phone | None = None) -> None:
        """Put a stanza into a device's mailbox; a message from somebody suffers the faults on its way."""
        if device.removed:
            return
        if node.tag == "message" and sender is not None:
            node = self.faults.damage(device.phone, sender, node)
        delay = self.faults.delay(device.phone, sender) if node.tag == "message" and sender is not None else None
        if delay is None:
            device.mailbox.put(node)
        else:
            delay.keep(device, node)
        self.changes.announce()

    def release(self, delay: Delay) -> None:
        """End a delay: what it has kept arrives now, late."""
        delay.heal()
        for device, node in delay.kept:
            device.mailbox.put(node)
        delay.kept.clear()

    def notify(self, device: Device, kind: str, content: Node, origin: JID = SERVER_JID) -> None:
        attrs: Attrs = {"type": kind, "from": origin, "id": self.new_id(), "t": int(time.time())}
        self.deliver(device, Node("notification", attrs, [content]))

    def notify_app_state(self, device: Device, name: str) -> None:
        """Tell a client that a collection has changed."""
        attrs: Attrs = {"name": name, "version": device.phone.app_state.version(name)}
        self.notify(device, "server_sync", Node("collection", attrs))

    def devices_changed(self, phone: Phone) -> None:
        """Whoever remembers the phone's devices forgets them, and asks again before the next message."""
        for watcher in phone.watchers:
            for address in (phone.jid, phone.lid_jid):
                self.notify(watcher, "devices", Node("update", {"device_hash": "2:emulator"}), address)
        phone.watchers.clear()

    def hear(self, phone: Phone) -> None:
        """The phone's devices are answered and served again."""
        phone.deaf = phone.withheld = phone.until_reconnect = False
        for device in phone.all_devices.values():
            device.mailbox.stirred.set()

    def turn_away(self, phone: Phone, *, deaf: bool = False, withheld: bool = False, until_reconnect: bool) -> None:
        """Stop answering pings or delivering, for good or until one of the phone's devices logs in anew."""
        phone.deaf, phone.withheld = phone.deaf or deaf, phone.withheld or withheld
        phone.until_reconnect = until_reconnect

    def remember(self, device: Device) -> None:
        """A forgotten sender gets the retry receipts that have waited for it."""
        device.forgotten = False
        device.mailbox.stirred.set()

    def heal(self) -> None:
        """End every fault."""
        for delay in self.faults.delays:
            self.release(delay)
        self.faults.heal()
        self.silence = None
        for phone in set(self._phones.values()):
            self.hear(phone)
            for device in phone.all_devices.values():
                self.remember(device)

    def take_prekey(self, device: Device) -> PreKey | None:
        """A one-time key of this device, which is asked for more of them when few are left."""
        prekey = device.prekeys.popleft() if device.prekeys else None
        if len(device.prekeys) < FEW_PREKEYS and not device.asked_for_prekeys:
            device.asked_for_prekeys = True
            self.notify(device, "encrypt", Node("count", {"value": len(device.prekeys)}))
        return prekey
