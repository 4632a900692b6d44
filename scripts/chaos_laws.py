"""What has to be so after chaos, told from what was written down: pure functions from that to violations."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from wa_sessions.emulator import Login

BEFORE = 1.0  # seconds: what a handler had taken so long before a blow may not have been deleted yet
AFTER = 20.0  # seconds that a blow is felt: a lease, a start on a busy machine, and what stood in memory meanwhile


@dataclass(frozen=True)
class Text:
    """What is written: the text of a message tells its chat and its place there."""

    peer: str
    number: str
    place: int

    def __str__(self) -> str:
        return f"{self.peer}-{self.number}-{self.place}"

    @classmethod
    def parse(cls, text: str) -> Text:
        peer, number, place = text.split("-")
        return cls(peer, number, int(place))


@dataclass(frozen=True)
class Note:
    """A line of the handler's."""

    what: str
    at: float
    machine: str
    id: str
    text: str


@dataclass(frozen=True)
class Blow:
    """Something that was done to a machine, or to all (None); ``kills``: whether processes ended without a word."""

    kind: str
    machine: str | None
    began: float
    ended: float
    kills: bool = False

    def felt(self, began: float, ended: float) -> bool:
        return self.began - BEFORE <= ended and began <= self.ended + AFTER


def notes(lines: Iterable[str]) -> list[Note]:
    """What handlers have noted; a handler that is killed may leave half a line."""
    found = [line.split("\t") for line in lines]
    return [Note(cells[0], float(cells[1]), *cells[2:]) for cells in found if len(cells) == 5]


def two_sockets(overlaps: Sequence[tuple[Login, Login]]) -> list[str]:
    return [
        f"two sockets of {one.device}: the second began at {other.began:.2f}, the first "
        + ("is open still" if one.ended is None else f"ended {one.ended - other.began:.3f} s later")
        + f" (heard of last {one.heard - other.began:+.3f} s)"
        for one, other in overlaps
    ]


@dataclass(frozen=True)
class Came:
    """The machine that wrote a message into the inbox, and when."""

    writer: str
    at: float


@dataclass(frozen=True)
class Seen:
    """What stood in the inbox, in order; what handlers had noted by a moment after that; what was set aside."""

    accepted: Mapping[str, Came] = field(default_factory=dict)
    noted: Sequence[Note] = ()
    set_aside: Sequence[str] = ()

    def unhandled(self) -> list[tuple[str, str]]:
        """Every message that stood in the inbox was handled, or is recorded as set aside; which was not, and how."""
        handled = {note.text for note in self.noted if note.what == "done"} | {*self.set_aside}
        return [(text, "stood in the inbox and was never handled") for text in self.accepted if text not in handled]


def taken_back(stood: Collection[str], noted: Sequence[Note], accepted: Collection[str]) -> list[str]:
    """What stood in the inbox before a failover, or a handler has had, is known still: commits wait for the standby."""
    known = {*accepted}
    return [
        f"{text} {how}, and the database knows nothing of it"
        for texts, how in (
            (stood, "stood in the inbox before a failover"),
            ({note.text for note in noted}, "was given to a handler"),
        )
        for text in sorted({*texts} - known)
    ]


def never_accepted(sent: Mapping[str, float], accepted: Collection[str], blows: Sequence[Blow]) -> list[str]:
    """What WhatsApp was told is delivered and never stood in the inbox: at most a few for each kill."""
    missing = [text for text in sent if text not in {*accepted}]
    kills = sum(blow.kills for blow in blows)
    if len(missing) <= MOST_IN_THE_GAP * kills:
        return []
    return [f"{len(missing)} messages were lost before the inbox, with {kills} kills: {sorted(missing)[:10]}"]


MOST_IN_THE_GAP = 8  # on average, as on a busy machine; the window of a host is the limit for one


def handled_twice(noted: Sequence[Note], blows: Sequence[Blow]) -> list[str]:
    """A message is handled again only if it was in flight when something was done to the machine that had it."""
    done: dict[str, list[Note]] = defaultdict(list)
    for note in noted:
        if note.what == "done":
            done[note.text].append(note)
    return [
        f"{text} was handled again: on {first.machine} at {first.at:.2f}, on {again.machine} at {again.at:.2f}"
        for text, all_of in done.items()
        for first, again in pairwise(all_of)
        if not any(blow.machine in (None, first.machine) and blow.felt(first.at, again.at) for blow in blows)
    ]


def out_of_order(
    noted: Sequence[Note], accepted: Mapping[str, Came], sent_again: Collection[str], blows: Sequence[Blow]
) -> list[str]:
    """The first handlings of a chat are in the order in which its messages came into the inbox.

    But for what a worker wrote that something had silenced, and that had lost the phone to another machine meanwhile:
    the new owner looks for that every 5 s, so its own next message may be before it, which is documented
    (``docs/explanation/delivery.md``: "When a phone goes to another worker").
    """
    came = {text: place for place, text in enumerate(accepted)}
    return [
        f"{later.text} was handled on {later.machine} at {later.at:.2f}, before {note.text} on {note.machine} "
        f"at {note.at:.2f}"
        for later, note in _changed_places(noted, sent_again)
        if came.get(note.text, 0) < came.get(later.text, 0)
        and not _of_a_silenced(accepted.get(note.text), later.machine, blows)
    ]


SILENCES = ("stop", "restart", "failover", "sever", "swallow", "half-open", "pull")  # how such blows begin


def _of_a_silenced(came: Came | None, owner: str, blows: Sequence[Blow]) -> bool:
    """Whether a machine other than the phone's wrote this, to which something was done that silences a worker."""
    return (
        came is not None
        and came.writer != owner
        and any(
            blow.kind.startswith(SILENCES) and blow.machine in (None, came.writer) and blow.felt(came.at, came.at)
            for blow in blows
        )
    )


def late(noted: Sequence[Note], sent_again: Collection[str]) -> int:
    """How often a message was handled after one that was sent after it.

    So are those whose first copy did not decrypt (``sent_again``: not counted), and those that a worker had in hand
    when it lost the phone: it writes them into the inbox when it can.
    """
    return len(_changed_places(noted, sent_again))


def _changed_places(noted: Sequence[Note], sent_again: Collection[str]) -> list[tuple[Note, Note]]:
    chats: dict[tuple[str, str], list[tuple[int, Note]]] = defaultdict(list)
    seen: set[str] = set()
    for note in noted:
        if note.text not in seen and note.id not in sent_again:
            seen.add(note.text)
            text = Text.parse(note.text)
            chats[text.peer, text.number].append((text.place, note))
    return [
        (later, note)
        for chat in chats.values()
        for (place_before, later), (place, note) in pairwise(chat)
        if place < place_before
    ]


def twice(noted: Sequence[Note]) -> int:
    """How many handlings were one too many."""
    done = [note.text for note in noted if note.what == "done"]
    return len(done) - len({*done})
