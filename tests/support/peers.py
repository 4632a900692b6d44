"""Many peers of one phone, with sessions in every shape that two clients get into before one of them moves.

The peers are Baileys 7 clients, which know as the official apps do that a number and its LID are one person.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from support.baileys import Baileys
from support.pairing import Party, link_all

from wa_sessions.emulator import JID, Delay, Emulator

IN_GROUPS = 3  # every third peer shares a group with the phone
FIRST_GROUP = 120_363_000_000_100_000


class Step(StrEnum):
    """What happens between the phone and a peer."""

    IN = "the peer writes"
    LATE = "the peer writes, and WhatsApp keeps it back"
    OUT = "the phone writes"
    PROMO = "the phone writes to the peer's number"
    RENEW = "the peer begins a new session"


IN, LATE, OUT, PROMO, RENEW = Step
SHAPES: dict[str, tuple[Step, ...]] = {
    "begun by the peer": (IN, OUT, IN),
    "begun by us": (OUT, IN, OUT),
    "we never answered": (IN, IN),
    "the peer never answered": (OUT,),
    "the peer never answered, by number": (PROMO,),
    "renewed by the peer, twice": (IN, OUT, RENEW, IN, OUT, RENEW, IN, OUT),
    "messages still to come": (IN, OUT, IN, LATE, IN, LATE, LATE, LATE, LATE, IN),
    "one still to come, of an older chain": (IN, OUT, LATE, IN, OUT, IN, OUT, IN),
    "one still to come, of a closed session": (IN, LATE, RENEW, IN, OUT),
}


@dataclass
class Peer:
    """One of the crowd. ``kept``: what WhatsApp keeps back of its messages, and their texts."""

    party: Party
    shape: str
    group: JID | None
    kept: list[tuple[Delay, str]] = field(default_factory=list)
    said: int = 0

    def words(self, what: str) -> str:
        self.said += 1
        return f"{what} {self.said} {self.party.name}"


class Crowd:
    """Peers around one phone. Each step is taken with all of them before the next one is."""

    def __init__(self, emu: Emulator, phone: Party, clients: Baileys, size: int) -> None:
        self._emu, self._phone, self._clients = emu, phone, clients
        shapes, parties = list(SHAPES), link_all(emu, clients, [f"peer{number}" for number in range(size)])
        self.peers = [
            Peer(party, shapes[number % len(shapes)], self._group(number, party) if number % IN_GROUPS == 0 else None)
            for number, party in enumerate(parties)
        ]

    def _group(self, number: int, party: Party) -> JID:
        group = JID(str(FIRST_GROUP + number), "g.us")
        self._emu.group(group.user, [self._phone.phone, party.phone])
        return group

    def live(self) -> None:
        """Bring every session into its shape, the groups too: one message of each group is still to come.

        One message after another: Baileys 6 loses sessions if it is busy with several peers at once.
        """
        for at in range(max(map(len, SHAPES.values()))):
            for peer in self.peers:
                for step in SHAPES[peer.shape][at : at + 1]:
                    self._take(peer, step, None)
        for step in (OUT, IN, LATE, IN):
            for peer in self.peers:
                if peer.group:
                    self._take(peer, step, peer.group)

    def write(self) -> list[str]:
        """Every peer writes to the phone, and into its group; what they wrote, once WhatsApp has it."""
        texts = []
        for peer in self.peers:
            for to in [None, peer.group] if peer.group else [None]:
                texts.append(peer.words("fresh"))
                self._from_peer(peer, texts[-1], to)
        return texts

    def release(self) -> list[str]:
        """What was still to come arrives now; its texts."""
        kept = [one for peer in self.peers for one in peer.kept]
        for delay, _ in kept:
            self._emu.release(delay)
        return [text for _, text in kept]

    def retries(self) -> int:
        """How often anybody has asked for a message again."""
        devices = [self._phone.device, *(peer.party.device for peer in self.peers)]
        return sum(len(self._emu.retry_receipts(device)) for device in devices)

    def _take(self, peer: Peer, step: Step, group: JID | None) -> None:
        """Take one step and wait until it is done."""
        text, ours, theirs = peer.words("said"), self._phone, peer.party
        since, their_since = ours.clients.lines.mark(), theirs.clients.lines.mark()
        match step:
            case Step.IN:
                self._from_peer(peer, text, group)
                ours.gets(text, since=since)
            case Step.LATE:
                delay = self._emu.delay_messages(ours.phone, sender=theirs.phone, count=1)
                peer.kept.append((delay, text))
                self._from_peer(peer, text, group)
                self._emu.wait_hits(delay, 1)
            case Step.RENEW:
                self._clients.renew(theirs.name, ours)
            case Step.OUT | Step.PROMO:
                _send(ours, group or (theirs.phone.jid if step is PROMO else theirs.phone.lid_jid), text)
                theirs.gets(text, since=their_since)

    def _from_peer(self, peer: Peer, text: str, group: JID | None) -> None:
        _send(peer.party, group or self._phone.phone.lid_jid, text)


def _send(sender: Party, to: JID, text: str) -> None:
    sender.send_to(to.user, text, server=to.server)
