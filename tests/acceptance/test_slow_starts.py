"""Session hosts that take long to begin, as on a machine that starts many at once."""

import os
from pathlib import Path

import host_hook
from support.installation import Installation
from support.waiting import PATIENCE

NUMBER = "77051234567"
SLOW = """
if "wa_sessions.worker.hosts.main" in sys.orig_argv:
    import time
    time.sleep(7)
"""
"""Longer than a lease: what was told of it meanwhile is over when it is read."""


def test_a_host_lives_by_the_lease_as_it_is_once_it_has_begun(installation: Installation, tmp_path: Path) -> None:
    """It read of one lease after the other that were over by then, and ended itself before it had done anything."""
    path = installation.environment()["PYTHONPATH"]
    slow = host_hook.install(tmp_path / "slow", SLOW)
    installation.add(NUMBER)
    worker = installation.run(NUMBER, PYTHONPATH=f"{path}{os.pathsep}{slow}")
    worker.expect("qr", NUMBER, timeout=90)
    installation.scan(worker, NUMBER)
    worker.expect("connected", NUMBER, timeout=90)
    assert "store_lost" not in worker.events(NUMBER)
    assert worker.stop(PATIENCE) == 0
