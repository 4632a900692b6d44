"""Alerts of a running worker: a close while the webhook hangs, messages that go on, and the all-clear."""

import threading
from typing import Any

from support import receivers
from support.client_process import ClientProcess
from support.installation import Installation
from support.pairing import link
from support.waiting import PATIENCE

ALICE, ERIN = "77051234567", "77057654321"


def test_a_close_while_the_webhook_hangs_holds_nothing_up(installation: Installation, peers: ClientProcess) -> None:
    with receivers.http() as hook:
        hook.hang = threading.Event()
        installation.add(ALICE, ERIN)
        settings: dict[str, Any] = {"WA_SESSIONS_ALERT_WEBHOOK_URL": hook.url, "WA_SESSIONS_ALERT_INTERVAL": "0.2"}
        worker = installation.run(ALICE, ERIN, **settings, no_proxy="127.0.0.1")  # the proxy is the emulator's
        for number in (ALICE, ERIN):
            installation.scan(worker, number)
            worker.expect("connected", number)
        bob = link(installation.emu, peers, "bob")
        fault = installation.emu.damage_messages(to=installation.phones[ALICE], sender=bob.phone, count=None)
        for count in (1, 2):
            bob.send_to(ALICE, f"lost {count - 1}")
            worker.expect("error_counted", ALICE, containing=f"#{count} ")
        assert hook.coming.wait(PATIENCE)  # the first alert hangs from here on
        since = worker.mark()
        bob.send_to(ALICE, "lost 2")
        worker.expect("session_closed", ALICE, since=since)
        bob.send_to(ERIN, "how are you")
        worker.received(ERIN, "how are you", since=since)
        fault.heal()
        installation.scan(worker, ALICE, since=since)
        worker.expect("connected", ALICE, since=since)
        assert hook.taken() == []
        hook.hang.set()
        hook.wait_for(3)
        worker.expect("alerts_sent", since=since)
        assert worker.stop() == 0
        told = [alert for request in hook.taken() for alert in request.alerts]
        assert [(alert["type"], alert["currentCount"], alert["severity"]) for alert in told] == [
            ("health_critical", 2, "critical"),
            ("session_closed", 3, "critical"),
            ("all_clear", None, "ok"),
        ]
        assert {alert["phone"] for alert in told} == {ALICE}
        (operation,) = installation.sql("SELECT id FROM wa_sessions.operation WHERE action = 'close'")
        assert told[1]["operation"] == operation["id"]
