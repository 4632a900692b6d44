"""What a session is given: how to run, and the worker around it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from wa_sessions.errors import WaSessionsError
from wa_sessions.worker.plans import Order

if TYPE_CHECKING:
    from wa_sessions.worker.session import PhoneSession


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How sessions are run. ``function`` and ``command`` name the message handler, if there is one.

    ``answer_timeout``: seconds without a login, a QR or a reconnect after which WhatsApp counts as unreachable.
    ``on_told`` is called with the phone, each event of its session process or state that its connection ended in, and
    the event's fields; if it answers True, the worker ends. ``told_after`` that many seconds it is called with the
    event ``time_over`` of no phone.
    """

    store_url: str
    function: str | None = None
    command: str | None = None
    pairing_window: timedelta = timedelta(minutes=10)
    answer_timeout: float = 90.0
    on_qr: Callable[[str, str], None] = lambda _phone, _code: None
    told_after: float | None = None
    on_told: Callable[[str, str, dict[str, Any]], bool] = lambda _phone, _event, _fields: False


class Worker(Protocol):
    """What a session needs of the worker around it."""

    def lease_until(self) -> float:
        """The end of the lease on the monotonic clock, as far as it is known now."""

    def start_slot(self) -> AbstractAsyncContextManager[Any]:
        """A place among the processes that start at the same time."""

    async def store_back(self) -> None:
        """Return when the database answers and the lease is ours again."""

    def stop(self) -> None:
        """End all sessions gracefully."""

    async def give_up(self, session: "PhoneSession") -> None:
        """Give a phone back to whoever takes it next."""

    async def answer(self, order: Order, result: dict[str, Any] | WaSessionsError) -> None:
        """Tell an operator what became of an order."""
