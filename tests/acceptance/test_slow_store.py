"""A message that is being decrypted while its session is closed, in a store that is slow: it is told all the same."""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from support.client_process import ClientProcess
from support.installation import Installation
from support.pairing import link
from support.waiting import PATIENCE

ALICE = "77051234567"
SLOW = """
    LOCK TABLE whatsmeow.whatsmeow_sessions IN SHARE MODE;
    LOCK TABLE whatsmeow.whatsmeow_chat_settings IN ACCESS EXCLUSIVE MODE;
"""
"""What is written waits, and a look too: as in a store of which every answer is late."""
WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = ''"


@pytest.mark.parametrize("end", ["SIGTERM", "restart"])
def test_what_is_being_decrypted_as_a_session_is_closed_is_heard_out(
    installation: Installation, peers: ClientProcess, end: str
) -> None:
    worker = installation.paired(ALICE)
    bob = link(installation.emu, peers, "bob")
    bob.send_to(ALICE, "first")
    worker.received(ALICE, "first")
    mark = worker.mark()
    with ThreadPoolExecutor(1) as pool, psycopg.connect(installation.url) as conn:
        conn.execute(SLOW)
        bob.send_to(ALICE, "in the middle")
        installation.until(WAITING)
        if end == "SIGTERM":
            worker.process.terminate()
        else:
            pool.submit(installation.cli, "restart", ALICE)
        installation.emu.wait_disconnected(installation.devices[ALICE])
        time.sleep(0.5)  # longer than a client that tells nothing is listened to in a store that is fast
        conn.rollback()
    if end == "SIGTERM":
        assert worker.wait(PATIENCE) == 0
        worker = installation.run(ALICE)
        mark = 0
    worker.expect("connected", ALICE, since=mark)
    worker.received(ALICE, "in the middle", since=mark)
