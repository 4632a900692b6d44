"""Phones of the emulator with real clients linked to them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.client_process import ClientProcess
from support.clients import Clients
from support.waiting import PATIENCE

from wa_sessions.emulator import Device, Emulator, Phone

_numbers = itertools.count(77_050_000_001)


@dataclass(frozen=True)
class Party:
    """A phone, the client that is linked to it, and what both are called."""

    name: str
    phone: Phone
    device: Device
    clients: Clients

    @property
    def number(self) -> str:
        return self.phone.number

    def send(self, to: "Party", text: str) -> str:
        return self.clients.send(self.name, to.number, text)

    def send_to(self, to: str, text: str, **more: str) -> str:
        """Write to any number or (``server="g.us"``) group."""
        return self.clients.send(self.name, to, text, **more)

    def gets(self, text: str, *, since: int = 0, timeout: float = PATIENCE) -> None:
        self.clients.message(self.name, text, since=since, timeout=timeout)

    def restart(self, client_process: ClientProcess) -> "Party":
        """The same client again, in this process."""
        client_process.add(self.name, number=self.number, device=self.device.id)
        client_process.event(self.name, "Connected")
        return Party(self.name, self.phone, self.device, client_process)


def new_number() -> str:
    return str(next(_numbers))


def link(emu: Emulator, clients: Clients, name: str, phone: Phone | None = None, **more: Any) -> Party:
    """Start a client and link it to a phone, a new one if none is given."""
    phone = phone or emu.add_phone(new_number(), name)
    since = clients.lines.mark()
    clients.add(name, **more)
    device = emu.scan(clients.event(name, "QR", since=since)["code"], phone)
    clients.event(name, "Connected", since=since)
    return Party(name, phone, device, clients)


def link_all(emu: Emulator, clients: Clients, names: Sequence[str]) -> list[Party]:
    """Link many clients at once, each to a new phone."""
    since = clients.lines.mark()
    phones = [emu.add_phone(new_number(), name) for name in names]
    added = [clients.begin("add", name) for name in names]
    for number in added:
        clients.answer(number)
    devices = []
    for name, phone in zip(names, phones, strict=True):
        devices.append(emu.scan(clients.event(name, "QR", since=since, timeout=PATIENCE)["code"], phone))
    for name in names:
        clients.event(name, "Connected", since=since, timeout=PATIENCE)
    return [Party(*of, clients) for of in zip(names, phones, devices, strict=True)]


def folder(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made
