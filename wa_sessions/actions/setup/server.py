"""The embedded server."""

from pathlib import Path

from wa_sessions.db import leases
from wa_sessions.db.embedded import EmbeddedServer, default_data_dir
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import embedded_target
from wa_sessions.errors import OwnedByAnother, SchemaMissing


def stop() -> Path | None:
    """Stop it; the data stays. Returns its folder, None where it did not run. Raises OwnedByAnother while in use."""
    server = EmbeddedServer(default_data_dir())
    if not server.exists() or not server.running():
        return None
    if owners := _owners(server):
        workers = ", ".join(sorted({f"{owner.host}/{owner.pid}" for owner in owners}))
        raise OwnedByAnother(f"a worker uses the embedded database ({workers}): stop it first")
    server.stop()
    return server.data_dir


def _owners(server: EmbeddedServer) -> list[leases.WorkerInfo]:
    with Database.open(embedded_target(server), size=1) as database:
        try:
            with database.transaction() as conn:
                return list(leases.owners(conn).values())
        except SchemaMissing:
            return []
