"""Phones of the emulator with clients of a stand-in linked to them."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from support.standin import Standin

from wa_sessions.emulator import Device, Emulator, Phone

_numbers = itertools.count(77_050_000_001)


@dataclass(frozen=True)
class Party:
    """A phone, the client that is linked to it, and what both are called."""

    name: str
    phone: Phone
    device: Device
    standin: Standin

    @property
    def number(self) -> str:
        return self.phone.number

    def send(self, to: "Party", text: str) -> str:
        return self.standin.send(self.name, to.number, text)

    def send_to(self, to: str, text: str, **more: str) -> str:
        """Write to any number or (``server="g.us"``) group."""
        return self.standin.send(self.name, to, text, **more)

    def gets(self, text: str, *, since: int = 0, timeout: float = 20) -> None:
        self.standin.message(self.name, text, since=since, timeout=timeout)

    def restart(self, standin: Standin) -> "Party":
        """The same client again, in this process."""
        standin.add(self.name, number=self.number, device=self.device.id)
        standin.event(self.name, "Connected")
        return Party(self.name, self.phone, self.device, standin)


def new_number() -> str:
    return str(next(_numbers))


def link(emu: Emulator, standin: Standin, name: str, phone: Phone | None = None) -> Party:
    """Start a client and link it to a phone, a new one if none is given."""
    phone = phone or emu.add_phone(new_number(), name)
    since = standin.lines.mark()
    standin.add(name)
    device = emu.scan(standin.event(name, "QR", since=since)["code"], phone)
    standin.event(name, "Connected", since=since)
    return Party(name, phone, device, standin)


def folder(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made
