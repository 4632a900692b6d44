"""Which of a phone's keys are meant: by their types, and by the peer that they are for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from wa_sessions.errors import UsageError
from wa_sessions.keys.phone_ref import parse_phone, spellings
from wa_sessions.keys.signal_address import user_of

_LID_SERVERS = ("lid", "hosted.lid")
_AGENTS_OF_NUMBERS, _AGENTS_OF_LIDS = ("", "_128"), ("_1", "_129")


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody whom a phone talks to: by number, by LID, or (bare digits) by what fits."""

    number: str | None = None
    lid: str | None = None

    def names(self) -> list[str]:
        """The names under which Signal libraries file this peer's devices (hosted ones too)."""
        of_number = [number + agent for number in self.numbers() for agent in _AGENTS_OF_NUMBERS]
        return of_number + ([self.lid + agent for agent in _AGENTS_OF_LIDS] if self.lid else [])

    def numbers(self) -> tuple[str, ...]:
        """The number in each way in which WhatsApp may have written it."""
        return spellings(self.number) if self.number else ()

    def users(self) -> list[str]:
        """What maps of LIDs to numbers may know this peer as."""
        return [user for user in dict.fromkeys((*self.numbers(), self.lid)) if user]


@dataclass(frozen=True, slots=True)
class Selection:
    """Key types as Baileys names them (None: all of a phone's keys), and at most one peer."""

    types: frozenset[str] | None = None
    peer: Peer | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for an order to a worker."""
        peer = {"number": self.peer.number, "lid": self.peer.lid} if self.peer else None
        return {"types": sorted(self.types) if self.types is not None else None, "peer": peer}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What ``as_dict`` made; raises UsageError for anything else."""
        match data:
            case {
                "types": None | list() as types,
                "peer": None | {"number": str() | None, "lid": str() | None} as peer,
            } if all(isinstance(name, str) for name in types or ()):
                known = frozenset(types) if types is not None else None
                return cls(known, Peer(peer["number"], peer["lid"]) if peer else None)
        raise UsageError("a selection of keys that this version does not know")


EVERYTHING: Final = Selection()
APP_STATE_VERSIONS: Final = Selection(frozenset({"app-state-sync-version"}))
APP_STATE: Final = Selection(frozenset({"app-state-sync-version", "app-state-sync-key"}))
CONVERSATIONS: Final = Selection(frozenset({"session", "sender-key", "sender-key-memory"}))
"""Sessions and sender keys; with them the memory of who holds ours, or groups would not be sent the new one."""
CONVERSATIONS_AND_PRE_KEYS: Final = Selection(frozenset({"session", "sender-key", "sender-key-memory", "pre-key"}))


def of_peer(peer: Peer) -> Selection:
    """Sessions with one peer, and that peer's sender keys."""
    return Selection(frozenset({"session", "sender-key"}), peer)


def parse_peer(text: str) -> Peer:
    """Read a number in any spelling, a JID, or a LID as in ``99887766@lid``; raises UsageError.

    >>> parse_peer("99887766:3@lid")
    Peer(number=None, lid='99887766')
    >>> parse_peer("+7 705 765-43-21")
    Peer(number='77057654321', lid='77057654321')
    """
    word = text.strip()
    if word.startswith("#"):
        raise UsageError(
            f"{word[:40]!r} is the id of a phone of yours: a peer is a number or a LID, as in 99887766@lid"
        )
    if word.lower().endswith(tuple(f"@{server}" for server in _LID_SERVERS)):
        return Peer(lid=_lid(word))
    digits = parse_phone(word).digits
    return Peer(number=digits) if "@" in word else Peer(number=digits, lid=digits)


def _lid(word: str) -> str:
    try:
        user = user_of(word.lower())
    except ValueError:
        user = ""
    if not (user.isascii() and user.isdigit()):
        raise UsageError(f"{word[:60]!r} is no LID: write it as in 99887766@lid")
    return user
