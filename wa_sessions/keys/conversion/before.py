"""What stood in the backend's rows before a phone was taken over: they tell where things go back to."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Self, assert_never

from wa_sessions.keys.baileys.app_state import AppStateKey, AppStateVersion
from wa_sessions.keys.baileys.creds import Creds, KeyPair
from wa_sessions.keys.baileys.peers import (
    DeviceList,
    IdentityKey,
    LidMapping,
    PreKey,
    SenderKeyMemory,
    Token,
    TokenIndex,
)
from wa_sessions.keys.baileys.rows import BaileysPhone, OtherKey, Record
from wa_sessions.keys.baileys.sender_key import SenderKey
from wa_sessions.keys.baileys.session import Session
from wa_sessions.keys.conversion.people import People
from wa_sessions.keys.conversion.remarks import Remarks
from wa_sessions.keys.conversion.sessions import BeforeState
from wa_sessions.keys.device_address import Address
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone


@dataclass(slots=True, repr=False)
class Before:
    """The rows by what whatsmeow calls their devices; all of it empty where nothing is known.

    ``pairs`` are pre-keys by their private halves, ``states`` sessions by base key; ``kept`` is what whatsmeow has no
    place for and what nothing makes wrong.
    """

    creds: Creds | None = None
    buffers: bool = False
    pairs: dict[bytes, KeyPair] = field(default_factory=dict)
    states: dict[bytes, BeforeState] = field(default_factory=dict)
    sender_keys: defaultdict[tuple[str, Address], list[SenderKey]] = field(default_factory=lambda: defaultdict(list))
    kept: list[Record] = field(default_factory=list)
    _addresses: defaultdict[Address, list[Address]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, before: BaileysPhone, phone: WhatsmeowPhone) -> Self:
        """From a phone's rows; they are of the same pairing."""
        people = People.of(before, [(pair.lid, pair.pn) for pair in phone.lid_map], Remarks())
        mapped = {user for pair in phone.lid_map for user in (pair.lid, pair.pn)}
        found = cls(before.creds, before.buffers)
        for record in before.records:
            match record:
                case PreKey():
                    found.pairs[record.pair.private] = record.pair
                case Session():
                    found._addresses[people.address(record.address)].append(record.address)
                    for state in record.states:
                        found.states.setdefault(state.base_key, BeforeState(record.address, state))
                case SenderKey():
                    found.sender_keys[record.group, people.address(record.address)].append(record)
                case OtherKey():
                    found.kept.append(record)
                case LidMapping() if mapped.isdisjoint((record.lid, record.number)):
                    found.kept.append(record)
                case LidMapping() | Creds() | AppStateKey() | AppStateVersion() | IdentityKey():
                    pass
                case SenderKeyMemory() | DeviceList() | Token() | TokenIndex():
                    pass
                case _:
                    assert_never(record)
        return found

    def address(self, address: Address) -> Address | None:
        """Where Baileys filed the sessions of a device; under its LID if under both names; None if it had none."""
        known = self._addresses.get(address, ())
        return next((one for one in known if one.user == address.user), known[0] if known else None)
