"""What a worker does to hear of requests, for tests that play one."""

import select
import time
from uuid import UUID

from wa_sessions.db import commands
from wa_sessions.db.gateway import Connection


def await_request(dedicated: Connection, worker_id: UUID, timeout: float) -> bool:
    """Whether somebody asks this worker within ``timeout`` seconds; ``commands.listen`` comes before."""
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        if select.select([dedicated], [], [], left)[0] and commands.heard(dedicated, worker_id).request:
            return True
    return False
