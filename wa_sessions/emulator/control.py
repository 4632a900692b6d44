"""The emulator as its users hold it. Every method may be called from any thread, but for the server's own."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any

from wa_sessions.emulator import signal
from wa_sessions.emulator.accounts import Device, Phone
from wa_sessions.emulator.app_state import COLLECTIONS, AppStateDamage
from wa_sessions.emulator.connection import Connection
from wa_sessions.emulator.errors import NotConnected
from wa_sessions.emulator.faults import (
    ENCRYPTED_KINDS,
    AppStateFault,
    Delay,
    Fault,
    LoginFailure,
    MessageFault,
    Refusal,
    Silence,
    damaged,
)
from wa_sessions.emulator.logins import Login
from wa_sessions.emulator.neonize_files import action
from wa_sessions.emulator.network import Course, Stanza
from wa_sessions.emulator.pairing import PairingFault
from wa_sessions.emulator.running import Running
from wa_sessions.emulator.server import REPLACED
from wa_sessions.emulator.stanza import GROUP, JID, Node

UNAVAILABLE = Node("stream:error", {"code": 503})
UNKNOWN_ERROR = Node("stream:error", {"code": 500})
GONE_TIMEOUT = 10.0


class Emulator(Running):
    """A WhatsApp server on loopback that plays the primary phones too. One object is one run of it."""

    # Phones, devices and groups

    def add_phone(self, number: str, name: str) -> Phone:
        """A primary phone with an account of its own. ``number`` is in digits."""
        if not number.isdecimal():
            raise ValueError(f"{number!r} is not a number in digits")
        return self._thread.call(lambda: self._network.add_phone(number, name))

    def scan(self, qr: str, phone: Phone, *, fault: str | None = None) -> Device:
        """The phone scans a QR code that a client shows. ``fault`` is ``hmac`` or ``signature``."""
        kind = PairingFault(fault) if fault else None
        return self._thread.run(self._server.pairing.scan(qr, phone, kind))

    def enter_code(self, phone: Phone, code: str) -> Device:
        """The code that a client shows is typed on the phone."""
        return self._thread.run(self._server.pairing.enter_code(phone, code))

    def group(self, group_id: str, members: Sequence[Phone]) -> str:
        """Make a group, or give it other members; returns its address."""
        self._thread.call(lambda: self._network.groups.__setitem__(group_id, tuple(members)))
        return str(JID(group_id, GROUP))

    def device(self, phone: Phone) -> Device | None:
        """The newest device of this phone that is not removed."""
        return self._thread.call(lambda: phone.newest)

    def connected(self, device: Device) -> bool:
        """Whether the device is logged in and ready for messages."""
        return self._thread.call(lambda: device.connected)

    def wait_connected(self, device: Device, timeout: float = 20) -> None:
        self.wait_until(lambda: device.connected, timeout, f"{device.jid} to be connected")

    def wait_disconnected(self, device: Device, timeout: float = 20) -> None:
        self.wait_until(lambda: device.connection is None, timeout, f"{device.jid} to be disconnected")

    def wait_delivered(self, device: Device, timeout: float = 20) -> None:
        """Wait until the device has acknowledged all that was sent to it."""
        self.wait_until(lambda: device.mailbox.idle, timeout, f"{device.jid} to acknowledge everything")

    def wait_hits(self, fault: Fault, hits: int, timeout: float = 20) -> None:
        """Wait until a fault has struck that often."""
        self.wait_until(lambda: fault.hits >= hits, timeout, f"{hits} strikes of a fault")

    # What the phone says

    def phone_message(self, device: Device, text: str, *, damage: bool = False) -> str:
        """The primary phone writes to its companion; returns the message's id."""
        return self._from_phone(device, signal.text_message(text), damage=damage)

    def share_app_state_key(self, device: Device) -> str:
        """The primary phone gives its companion the key of its app state."""
        return self._from_phone(device, signal.app_state_key_message(device.phone))

    def _from_phone(self, device: Device, message: Any, *, damage: bool = False) -> str:
        def put() -> str:
            message_id = f"PHONE-{self._network.new_id()}"
            prekey = self._network.take_prekey(device)
            stanza = signal.peer_stanza(device, message, message_id, prekey)
            if damage:
                stanza = stanza.with_content([damaged(part) for part in stanza.children])
            self._network.deliver(device, stanza, device.phone)
            return message_id

        return self._thread.call(put)

    def app_state_set(self, phone: Phone, name: str, index: Sequence[str], value: Any) -> int:
        """Append a valid patch that sets ``value`` (a ``SyncActionValue``); returns the collection's version."""
        if name not in COLLECTIONS:
            raise ValueError(f"no app state {name!r}; there are {', '.join(COLLECTIONS)}")
        return self._thread.call(lambda: phone.app_state.append(name, index, value))

    def mute(self, phone: Phone, number: str) -> int:
        """Mute a chat on the phone: one valid patch of ``regular_high``; returns that collection's version."""
        value = action.SyncActionValue(muteAction=action.MuteAction(muted=True))
        return self.app_state_set(phone, "regular_high", ["mute", str(JID(number))], value)

    def notify_app_state(self, device: Device, name: str) -> None:
        """Tell a client that a collection has changed; it then fetches what it lacks."""
        self._thread.call(lambda: self._network.notify_app_state(device, name))

    # Faults

    def damage_messages(
        self,
        to: Phone,
        *,
        sender: Phone | None = None,
        kinds: Collection[str] = ENCRYPTED_KINDS,
        count: int | None = None,
        first_copies: bool = False,
    ) -> Fault:
        """Damage the next ``count`` payloads towards a phone (all of them until healed, if None).

        Without a ``sender`` every peer's, but not what the phone itself writes to its companions. ``first_copies``: the
        first copy of each of the next ``count`` messages alone; the copies sent again arrive whole.
        """
        fault = MessageFault(to, sender, kinds, count, first_copies=first_copies)
        self._thread.call(lambda: self._network.faults.add_message(fault))
        return fault

    def delay_messages(self, to: Phone, *, sender: Phone | None = None, count: int) -> Delay:
        """Keep the next ``count`` messages towards a phone back until ``release``; later ones overtake them."""
        delay = Delay(to, sender, count)
        self._thread.call(lambda: self._network.faults.add_delay(delay))
        return delay

    def release(self, delay: Delay) -> None:
        """What has been kept back arrives now."""
        self._thread.call(lambda: self._network.release(delay))

    def damage_app_state(self, phone: Phone, name: str, damage: AppStateDamage, *, count: int | None = None) -> Fault:
        """Damage what the next ``count`` syncs of a collection are answered with (all until healed, if None)."""
        fault = AppStateFault(phone, name, damage, count)
        self._thread.call(lambda: self._network.faults.add_app_state(fault))
        return fault

    def heal(self) -> None:
        """End every fault: damage, delays, refused logins, deafness, withheld messages, silence."""
        self._thread.call(self._network.heal)

    def refuse_login(self, phone: Phone, failure: LoginFailure, *, expire_seconds: int | None = None) -> None:
        """Refuse the account's logins from now on; a temporary ban may say when it expires."""
        refusal = Refusal(failure, expire_seconds)
        self._thread.call(lambda: self._network.faults.refusals.__setitem__(phone, refusal))

    def accept_login(self, phone: Phone) -> None:
        self._thread.call(lambda: self._network.faults.refusals.pop(phone, None))

    def deaf(self, phone: Phone, *, until_reconnect: bool = False) -> None:
        """Leave the pings of the phone's devices unanswered, on old connections only or on new ones too."""
        self._thread.call(lambda: self._network.turn_away(phone, deaf=True, until_reconnect=until_reconnect))

    def withhold(self, phone: Phone, *, until_reconnect: bool = False) -> None:
        """Answer pings, but deliver nothing: it all waits, for ``hear`` or for a new connection."""
        self._thread.call(lambda: self._network.turn_away(phone, withheld=True, until_reconnect=until_reconnect))

    def hear(self, phone: Phone) -> None:
        """End ``deaf`` and ``withhold``; what has waited is delivered."""
        self._thread.call(lambda: self._network.hear(phone))

    def silent(self, silent: bool, *, stage: Silence = Silence.UPGRADE) -> None:  # noqa: FBT001
        """Accept new connections and never answer them. Those stay stuck when it ends; newer ones are answered."""
        self._thread.call(lambda: setattr(self._network, "silence", stage if silent else None))

    # Ends of connections; each returns when the connection is gone

    def drop(self, device: Device) -> None:
        """Cut the TCP connection."""

        async def cut(connection: Connection) -> None:
            connection.abort()

        self._end(device, cut)

    def drop_all(self, devices: Sequence[Device]) -> None:
        """Cut the TCP connections of many, at once; does not wait for anything."""

        def cut() -> None:
            for device in devices:
                if device.connection is not None:
                    device.connection.abort()

        self._thread.call(cut)

    def close(self, device: Device) -> None:
        """Close the WebSocket in good order."""
        self._end(device, lambda connection: connection.close())

    def unavailable(self, device: Device) -> None:
        """The server restarts: a stream error 503."""
        self._end(device, lambda connection: connection.close(UNAVAILABLE))

    def unknown_stream_error(self, device: Device) -> None:
        self._end(device, lambda connection: connection.close(UNKNOWN_ERROR))

    def replace(self, device: Device) -> None:
        """Another client has taken the session over."""
        self._end(device, lambda connection: connection.close(REPLACED))

    def remove_device(self, device: Device) -> None:
        """The phone unlinks the device; one that is offline learns of it at its next login."""
        self._thread.call(lambda: self._server.remove(device))
        self.wait_disconnected(device, GONE_TIMEOUT)

    def _end(self, device: Device, how: Callable[[Connection], Awaitable[None]]) -> None:
        async def work() -> None:
            connection = device.connection
            if connection is None:
                raise NotConnected(f"{device.jid} is not connected")
            await how(connection)
            await self._network.changes.until(lambda: device.connection is not connection, GONE_TIMEOUT)

        self._thread.run(work())

    def forget_sender(self, device: Device) -> None:
        """A sender that hears of no failure: requests to send again wait for it as though it were offline."""
        self._thread.call(lambda: setattr(device, "forgotten", True))

    def remember_sender(self, device: Device) -> None:
        self._thread.call(lambda: self._network.remember(device))

    # Settings, and what has happened

    @property
    def snapshots(self) -> bool:
        """Whether the first sync of a collection is answered with a snapshot instead of patches."""
        return self._network.snapshots

    @snapshots.setter
    def snapshots(self, wanted: bool) -> None:
        self._thread.call(lambda: setattr(self._network, "snapshots", wanted))

    @property
    def history(self) -> Sequence[Stanza]:
        """The newest stanzas, both ways, oldest first."""
        return self._thread.call(lambda: tuple(self._network.history))

    @property
    def logins(self) -> Sequence[Login]:
        """Every login so far, with its end; ``overlapping`` tells which were open at the same time."""
        return self._thread.call(self._network.logins.so_far)

    @property
    def sent(self) -> Iterable[Stanza]:
        """The newest stanzas that went to clients."""
        return [stanza for stanza in self.history if stanza.course is Course.TO_CLIENT]

    def retry_receipts(self, device: Device) -> list[tuple[str, int]]:
        """What the device has asked for again: each message's id and which time it was."""
        return self._thread.call(lambda: list(device.retry_receipts))

    def queued(self, device: Device, tag: str = "message") -> int:
        """How many stanzas of this kind wait for the device."""
        return self._thread.call(lambda: device.mailbox.waiting(tag))
