"""Letting neonize make its tables, in a process of its own."""

from wa_sessions.errors import DatabaseError, WaSessionsError
from wa_sessions.worker.process import SessionProcess


async def prepare_store(store_url: str) -> None:
    """Have neonize make or upgrade its tables. Raises DatabaseError where it cannot use the store."""
    process = await SessionProcess.spawn(lambda _event: None)
    try:
        await process.ask("prepare", store_url=store_url)
    except WaSessionsError as error:
        raise DatabaseError(f"neonize cannot use the key store: {error}") from None
    finally:
        await process.kill()
