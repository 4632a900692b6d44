"""What a phone's task needs of the world around it, as it sees it; tests put others in their place."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wa_sessions.health.events.workers import HandlerEnded, HandlerFailed, HandlerSlow, HandlerUnfinished
from wa_sessions.worker.hosts.protocol import ClientEvent


@dataclass(frozen=True, slots=True)
class ClientLost:
    """A client ended without being asked: its host crashed, was killed, or hung. ``reason`` is for people.

    ``lease_ran_out``: the host ended itself as nobody had renewed its lease, so nothing is wrong with it.
    ``set_aside``: this client brought three hosts down; it is not to be started again soon.
    """

    client: int
    reason: str
    lease_ran_out: bool = False
    set_aside: bool = False


@dataclass(frozen=True, slots=True)
class MoveAsked:
    """The client is to leave its host: close it, and open it again, whenever the session is at rest."""

    client: int


@dataclass(frozen=True, slots=True)
class RequestAnswered:
    """What became of a ``send`` or ``unlink`` of this client: its result, or an error for people."""

    client: int
    request: int
    result: str | None = None
    error: str | None = None


FromHost = ClientEvent | ClientLost | MoveAsked | RequestAnswered


class SessionHosts(Protocol):
    """Where clients run. Nothing here waits: what becomes of it comes as an event, in order for each client.

    After ``close`` or ``drop`` exactly one ``Stopped`` or ``ClientLost`` ends that client's events, within 7 seconds;
    every request is answered before that end.
    """

    def open(self, phone_id: int, device: str | None, tell: Callable[[FromHost], None]) -> int:
        """Start a client for the keys of ``device``, or to pair; its number."""

    def close(self, client: int) -> None:
        """End a client, and tell what had arrived before."""

    def drop(self, client: int) -> None:
        """End a client at once: its phone is another worker's."""

    def send_text(self, client: int, request: int, to: str, text: str) -> None:
        """Send a text; ``RequestAnswered`` has the message's id."""

    def unlink(self, client: int, request: int) -> None:
        """Have WhatsApp remove the device; ``RequestAnswered`` follows."""

    def message_taken(self, client: int, count: int) -> None:
        """So many messages that this client told are safe: it may tell others."""


HandlerEvent = HandlerFailed | HandlerSlow | HandlerEnded | HandlerUnfinished
"""Something about the operator's handler that belongs into a phone's history."""


class Worker(Protocol):
    """The worker around a session."""

    def suspect_store(self) -> None:
        """Somebody could not use the database: look whether it answers; ``StoreLost`` or ``StoreBack`` follows."""

    def stop(self) -> None:
        """End all sessions gracefully."""

    async def release(self, phone_id: int) -> None:
        """Give a phone back to whoever takes it next. Raises DatabaseError: then it stays ours."""
