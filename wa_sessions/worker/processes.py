"""What the worker needs of the processes around it, hosts and handlers, and they of it."""

from typing import Protocol
from uuid import UUID

from wa_sessions.db.phones import Phone
from wa_sessions.worker.message import IncomingMessage
from wa_sessions.worker.ports import SessionHosts


class HostProcesses(SessionHosts, Protocol):
    """The processes that sessions run in."""

    async def prepare(self) -> None:
        """Have neonize make or upgrade its tables. Raises DatabaseError."""

    async def run(self) -> None:
        """Watch over the processes, until cancelled."""

    async def end(self, within: float, /) -> None:
        """End all processes, gracefully if that takes no more than ``within`` seconds."""

    def extend_lease(self, until: float) -> None:
        """Let all processes live until ``until`` on the monotonic clock."""

    def is_alive(self, client: int) -> bool:
        """Whether the process of a client gave a sign of life of late."""

    def running(self) -> int:
        """How many processes there are."""


class DeliveryWorker(Protocol):
    """The worker around the inbox."""

    @property
    def worker_id(self) -> UUID:
        """As which it stands in the database."""

    def message_taken(self, client: int, count: int) -> None:
        """So many messages of this client are safe: its host may tell others."""

    def suspect_store(self) -> None:
        """Somebody could not use the database: look whether it answers."""

    def inbox_stuck(self, phone_ids: frozenset[int]) -> None:
        """Messages of these phones cannot be written: their sockets are to close until ``inbox_free``."""

    def inbox_free(self) -> None:
        """All that was told is written."""


class HandlerProcesses(Protocol):
    """Where messages go: they are kept, and handed to the operator's handler in processes of its own."""

    def begin(self, worker: DeliveryWorker) -> None:
        """Whose messages they are; called once, before anything else."""

    def serve(self, phone: Phone) -> None:
        """The worker runs this phone from now on."""

    def forget(self, phone_id: int) -> None:
        """The worker runs this phone no more; what waits in memory is handed over still."""

    def hold_back(self, phone_id: int) -> None:
        """Another worker is to run this phone: begin with no message of it that the next one can hand over."""

    async def settled(self, phone_id: int) -> None:
        """Return when no handler has a message of this phone, and what came of it is safe; handlers are ended for it.

        Gives up after some seconds while the database does not answer.
        """

    def put(self, phone_id: int, message: IncomingMessage, client: int) -> None:
        """Take a message, whose phone is set; never waits for the handler. ``client``: who told it."""

    def store_back(self) -> None:
        """The database answers again."""

    def wind_down(self) -> None:
        """The worker ends: begin with no message any more that will be there after it."""

    async def run(self) -> None:
        """Hand messages over, until cancelled."""

    async def drain(self, within: float, /) -> None:
        """Let handlers end what they have in hand, and what is in memory alone be handled or written.

        What is not after ``within`` seconds is counted and told.
        """
