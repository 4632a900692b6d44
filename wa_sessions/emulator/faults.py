"""Faults made on the wire: damaged messages, damaged app state, refused logins."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, TypeVar

from wa_sessions.emulator.crypto import flip
from wa_sessions.emulator.stanza import Attrs, Node
from wa_sessions.emulator.wire import spans

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from wa_sessions.emulator.accounts import Device, Phone
    from wa_sessions.emulator.app_state import AppStateDamage

ENCRYPTED_KINDS = ("msg", "pkmsg", "skmsg")
INNER_MESSAGE = 4  # the field of a PreKeySignalMessage that holds the SignalMessage with its MAC


class LoginFailure(IntEnum):
    """Why a login is refused (whatsmeow: ``events.ConnectFailureReason``)."""

    BAD_REQUEST = 400
    LOGGED_OUT = 401
    TEMPORARY_BAN = 402
    LOCKED = 403
    OUTDATED = 405
    BANNED = 406
    UNAVAILABLE = 503


class Silence(StrEnum):
    """How far a connection gets before the server falls silent for good."""

    CONNECT = "connect"  # TCP only: the proxy's answer never comes
    UPGRADE = "upgrade"  # TCP and TLS: the WebSocket never opens
    NOISE = "noise"  # the WebSocket opens, the handshake is never answered


@dataclass(frozen=True)
class Refusal:
    """The answer to every login of an account, until it is accepted again."""

    failure: LoginFailure
    expire_seconds: int | None = None
    ban_code: int = 101

    def stanza(self) -> Node:
        attrs: Attrs = {"reason": int(self.failure), "location": "emulator"}
        if self.failure is LoginFailure.TEMPORARY_BAN:
            attrs |= {"code": self.ban_code, "expire": self.expire_seconds or 0}
        return Node("failure", attrs)


class Fault:
    """A fault at work, and how often it has struck."""

    def __init__(self, count: int | None = None) -> None:
        if count is not None and count < 1:
            raise ValueError("a fault strikes at least once")
        self._left = count
        self.hits = 0

    def heal(self) -> None:
        """End it now."""
        self._left = 0

    def healed(self) -> bool:
        """Whether it is over: healed, or all its strikes are used up."""
        return self._left == 0

    def strike(self) -> None:
        self.hits += 1
        if self._left is not None:
            self._left -= 1


FaultT = TypeVar("FaultT", bound=Fault)


class MessageFault(Fault):
    """Damages encrypted payloads on their way to a phone's devices."""

    def __init__(
        self, to: Phone, sender: Phone | None, kinds: Collection[str], count: int | None, *, first_copies: bool
    ) -> None:
        super().__init__(count)
        unknown = set(kinds) - set(ENCRYPTED_KINDS)
        if unknown:
            raise ValueError(f"no such kind of payload: {', '.join(sorted(unknown))}")
        self._to, self._sender, self._kinds = to, sender, frozenset(kinds)
        self._first_copies = first_copies

    def apply(self, to: Phone, sender: Phone, message: Node) -> Node:
        """The message as it arrives: whole, or with what this fault has damaged in it."""
        if to is not self._to or not self._meant(to, sender):
            return message
        if not self._first_copies:
            return message.with_content([self._damage_each(part) for part in message.children])
        if self.healed() or not any(map(self._first_copy, message.children)):
            return message
        self.strike()
        return message.with_content([damaged(part) if self._first_copy(part) else part for part in message.children])

    def _meant(self, to: Phone, sender: Phone) -> bool:
        """Without a named sender: every peer, but not what the phone itself tells its companions."""
        return sender is not to if self._sender is None else sender is self._sender

    def _matches(self, part: Node) -> bool:
        return part.tag == "enc" and part.text("type") in self._kinds

    def _first_copy(self, part: Node) -> bool:
        """A copy sent again says how often in ``count`` (whatsmeow: ``handleRetryReceipt``)."""
        return self._matches(part) and part.number("count") == 0

    def _damage_each(self, part: Node) -> Node:
        if self.healed() or not self._matches(part):
            return part
        self.strike()
        return damaged(part)


class Delay(Fault):
    """Keeps messages on their way to a phone's devices back, so that those sent later overtake them."""

    def __init__(self, to: Phone, sender: Phone | None, count: int) -> None:
        super().__init__(count)
        self.to, self.sender = to, sender
        self.kept: list[tuple[Device, Node]] = []

    def meant(self, to: Phone, sender: Phone) -> bool:
        """Whether a message from this sender is kept back."""
        return not self.healed() and to is self.to and self.sender in (None, sender)

    def keep(self, device: Device, message: Node) -> None:
        self.strike()
        self.kept.append((device, message))


class AppStateFault(Fault):
    """Damages what a collection's syncs are answered with."""

    def __init__(self, phone: Phone, name: str, damage: AppStateDamage, count: int | None) -> None:
        super().__init__(count)
        self.phone, self.name, self.damage = phone, name, damage


class Faults:
    """All the faults at work. The newest one for a collection counts."""

    def __init__(self) -> None:
        self._messages: list[MessageFault] = []
        self._app_state: list[AppStateFault] = []
        self.delays: list[Delay] = []
        self.refusals: dict[Phone, Refusal] = {}

    def add_message(self, fault: MessageFault) -> None:
        self._messages = [*_alive(self._messages), fault]

    def add_app_state(self, fault: AppStateFault) -> None:
        kept = [old for old in _alive(self._app_state) if (old.phone, old.name) != (fault.phone, fault.name)]
        self._app_state = [*kept, fault]

    def add_delay(self, delay: Delay) -> None:
        self.delays = [*(old for old in self.delays if old.kept or not old.healed()), delay]

    def delay(self, to: Phone, sender: Phone) -> Delay | None:
        """What keeps a message from this sender back, if anything does."""
        return next((delay for delay in self.delays if delay.meant(to, sender)), None)

    def damage(self, to: Phone, sender: Phone, message: Node) -> Node:
        for fault in self._messages:
            message = fault.apply(to, sender, message)
        return message

    def app_state(self, phone: Phone, name: str) -> AppStateFault | None:
        return next((f for f in _alive(self._app_state) if f.phone is phone and f.name == name), None)

    def heal(self) -> None:
        for fault in (*self._messages, *self._app_state):
            fault.heal()
        self._messages.clear()
        self._app_state.clear()
        self.delays.clear()
        self.refusals.clear()


def _alive(faults: Iterable[FaultT]) -> list[FaultT]:
    return [fault for fault in faults if not fault.healed()]


def damaged(part: Node) -> Node:
    """An ``<enc>`` whose authentication fails: one bit of its MAC, or of its signature, is turned over."""
    if not isinstance(part.content, bytes) or not part.content:
        return part
    return part.with_content(flip(part.content, mac_place(part.text("type"), part.content)))


def mac_place(kind: str, payload: bytes) -> int:
    """Where the last byte of the MAC (of a group message: the signature) stands.

    It ends a SignalMessage and a SenderKeyMessage. A PreKeySignalMessage has its ids behind the inner message.
    """
    if kind == "pkmsg":
        for number, _start, end in spans(payload[1:]):
            if number == INNER_MESSAGE:
                return end
    return len(payload) - 1
