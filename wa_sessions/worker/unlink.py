"""Logging a device out at WhatsApp that no session uses any more."""

import asyncio
import time
from typing import Any

from wa_sessions.errors import DatabaseError, WaSessionsError
from wa_sessions.keys.phone_ref import number_of
from wa_sessions.worker.process import SessionEvent, SessionProcess

DEADLINE = 30.0  # seconds for the login and the logout of one device
_STRAIGHT = "give a --store-url that leads straight to this same database, past any pooler"


async def log_out(store_url: str, device: str, deadline: float = DEADLINE) -> bool:
    """Connect as ``device`` only to have WhatsApp remove it; False if WhatsApp had removed it before.

    No message reaches a handler, and the process is killed at the end. Raises DatabaseError if neonize does not find
    the device at ``store_url``, WaSessionsError if WhatsApp cannot be reached, refuses, or has not answered after
    ``deadline`` seconds: then it can be done again.
    """
    told: asyncio.Queue[SessionEvent] = asyncio.Queue()
    process = await SessionProcess.spawn(told.put_nowait)
    try:
        async with asyncio.timeout(deadline):
            await _find(process, store_url, device)
            process.start(
                store_url=store_url,
                device=device,
                phone=number_of(device),
                function=None,
                command=None,
                until=time.monotonic() + deadline,
            )
            return await _end(process, told)
    except TimeoutError:
        raise WaSessionsError(f"WhatsApp did not answer in {deadline:g} s") from None
    finally:
        await process.kill()


async def _find(process: SessionProcess, store_url: str, device: str) -> None:
    """See that the URL leads to the device: neonize ends with a Go panic where it does not."""
    try:
        devices = await process.ask("prepare", store_url=store_url)
    except WaSessionsError as error:
        raise DatabaseError(f"neonize cannot use the database: {error}; {_STRAIGHT}") from None
    if device not in devices:
        raise DatabaseError(f"neonize does not reach the schema that was made for the device: {_STRAIGHT}")


async def _end(process: SessionProcess, told: "asyncio.Queue[SessionEvent]") -> bool:
    """What has become of the device. That a connection is lost is no end: whatsmeow opens another."""
    while True:
        event = await told.get()
        if event.name == "connected":
            await process.ask("unlink")
            return True
        if event.name == "logged_out" and event.fields["reason"] == "LOGGED_OUT":
            return False
        if why := _why_not(event.name, event.fields):
            raise WaSessionsError(why)


def _why_not(name: str, fields: dict[str, Any]) -> str | None:
    match name:
        case "connect_failed":
            return "the database does not answer" if fields["store"] else "WhatsApp cannot be reached"
        case "login_refused" | "logged_out":
            return f"WhatsApp refused the login ({fields['reason'].lower()})"
        case "banned":
            return "the number is banned by WhatsApp: its devices cannot log in"
        case "outdated":
            return "WhatsApp refuses this version of the client: upgrade neonize"
        case "replaced":
            return "another client logged in with these keys"
        case "exited":
            return f"the session process ended: {fields['reason'] or 'no reason given'}"
        case _:
            return None
