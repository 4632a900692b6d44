"""Drives ``tests/node/client.mjs``: real Baileys clients from npm, as a Node backend runs them."""

import fcntl
import hashlib
import subprocess
from pathlib import Path
from typing import Any

from support.clients import Clients
from support.installation import Installation
from support.pairing import Party, link

FOLDER = Path(__file__).parents[1] / "node"
VERSIONS = (6, 7)
ORGANIZATION = 1


def install() -> None:
    """``npm ci`` into ``tests/node``, once for each lock file, whoever of several test processes comes first."""
    lock_file = FOLDER / "package-lock.json"
    with lock_file.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted, stamp = hashlib.sha256(lock.read()).hexdigest(), FOLDER / "node_modules" / ".installed"
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        done = subprocess.run(
            ["npm", "ci", "--prefer-offline"], cwd=FOLDER, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        assert done.returncode == 0, f"npm ci failed in {FOLDER}: {done.stderr}"
        stamp.write_text(wanted)


class Baileys(Clients):
    """Clients of one version. Those with an organization keep their keys in the backend's table, others in memory."""

    def __init__(self, version: int, environment: dict[str, str], folder: Path, database_url: str) -> None:
        self.version = version
        command = ["node", str(FOLDER / "client.mjs"), str(version)]
        super().__init__(command, environment | {"DATABASE_URL": database_url}, folder)

    def end(self, client: str) -> None:
        """Close the connection and wait until all that was left to write is written."""
        self.do("end", client)

    def modify(self, client: str, jid: str, change: dict[str, Any]) -> None:
        """Change the account's app state, as in ``{"mute": <until, in ms> | None}``."""
        self.do("modify", client, jid=jid, change=change)

    def name_contact(self, client: str, jid: str, name: str) -> None:
        """Put a contact into the account's address book."""
        self.do("contact", client, jid=jid, name=name)

    def forget_contact(self, client: str, jid: str) -> None:
        """Take a contact out of it again: a patch that removes."""
        self.do("forget", client, jid=jid)

    def renew(self, client: str, party: Party) -> None:
        """Begin a new session with a peer, as a client does that has lost the old one."""
        self.do("renew", client, jid=str(party.device.lid))


def node_phone(installation: Installation, baileys: Baileys, number: str) -> Party:
    """A phone of the Node backend, linked by its QR code, whose keys are in the backend's table."""
    installation.add(number)
    installation.cli("assign", number, "baileys")
    party = link(
        installation.emu, baileys, number, installation.phones[number], number=number, organization=ORGANIZATION
    )
    installation.devices[number] = party.device
    return party


def answer(party: Party, to: Party, text: str) -> str:
    """Write where the peer's messages come from, a LID, as a bot does.

    Baileys 6 keeps another session for the peer's number. To write there instead breaks the peer's next message, until
    Baileys has asked for it again, which takes it 5 seconds.
    """
    return party.send_to(to.phone.lid, text, server="lid")


def reconnect(party: Party) -> None:
    """The same client again, from the rows that it has written; it must need no QR code."""
    since = party.clients.lines.mark()
    party.clients.add(party.name, number=party.number, organization=ORGANIZATION)
    party.clients.event(party.name, "Connected", since=since)
    assert party.clients.count(party.name, "QR", since=since) == 0
