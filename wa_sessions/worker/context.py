"""What a session is given: how to run, and the worker around it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from wa_sessions.errors import WaSessionsError
from wa_sessions.worker.plans import Order


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How sessions are run. ``function`` and ``command`` name the message handler, if there is one.

    ``answer_timeout``: seconds without a login, a QR or a reconnect after which WhatsApp counts as unreachable.
    """

    store_url: str
    function: str | None = None
    command: str | None = None
    pairing_window: timedelta = timedelta(minutes=10)
    answer_timeout: float = 90.0
    on_qr: Callable[[str, str], None] = lambda _phone, _code: None


class Worker(Protocol):
    """What a session needs of the worker around it."""

    def lease_until(self) -> float:
        """The end of the lease on the monotonic clock, as far as it is known now."""

    def start_slot(self) -> AbstractAsyncContextManager[Any]:
        """A place among the processes that start at the same time."""

    async def store_back(self) -> None:
        """Return when the database answers and the lease is ours again."""

    async def answer(self, order: Order, result: dict[str, Any] | WaSessionsError) -> None:
        """Tell an operator what became of an order."""
