"""A closed session's device is logged out at WhatsApp, and nothing else feels it."""

import contextlib
import os
import signal

import pytest
from support import warm
from support.client_process import ClientProcess
from support.installation import PROGRAM, Installation
from support.pairing import link

from wa_sessions.actions.connection import open_database
from wa_sessions.actions.engine.carry_out import make
from wa_sessions.actions.engine.plan import Scope
from wa_sessions.actions.repair.unlink import Unlink
from wa_sessions.emulator import LoginFailure
from wa_sessions.errors import Conflict
from wa_sessions.keys.whatsmeow_tables import TABLES
from wa_sessions.worker.hosts.store import DEADLINE

ALICE, CAROL = "77051234567", "77052345678"
SCHEMAS = "SELECT nspname AS name FROM pg_namespace WHERE starts_with(nspname, 'wa_sessions_unlink_')"
CONNECTING = """
    SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND query ~ 'whatsmeow_device'
      AND NOT starts_with(application_name, 'wa-sessions')
"""


def test_the_old_device_goes_and_the_new_session_goes_on(installation: Installation, peers: ClientProcess) -> None:
    worker = installation.paired(ALICE)
    bob, old = link(installation.emu, peers, "bob"), installation.devices[ALICE]
    bob.send_to(ALICE, "first")
    worker.received(ALICE, "first")
    closed = installation.json("force-close", ALICE, "--logout", "--yes")
    for number in range(20):
        bob.send_to(ALICE, f"while it was closed {number}")
    since = worker.mark()
    installation.cli("relink", ALICE)
    new = installation.scan(worker, ALICE, since=since)
    worker.expect("connected", ALICE, since=since)
    assert installation.phones[ALICE].devices == [old, new]

    unlinking = warm.Popen(
        [PROGRAM, "unlink", closed["operation"], "--yes"], env=installation.environment(), stdout=warm.PIPE, text=True
    )
    sent = 0
    while unlinking.poll() is None:
        sent += 1
        bob.send_to(ALICE, f"during {sent}")
        worker.received(ALICE, f"during {sent}", since=since)
    out, _ = unlinking.communicate()
    assert (unlinking.returncode, out) == (0, f"unlinked {old.jid}: its place among the linked devices is free\n")
    assert old.removed
    assert installation.phones[ALICE].devices == [new]
    bob.send_to(ALICE, "after")
    worker.received(ALICE, "after", since=since)
    assert (installation.row(ALICE)["status"], new.logins) == ("connected", 1)
    assert "disconnected" not in worker.events(ALICE, since=since)
    assert installation.sql(SCHEMAS) == []

    (event,) = installation.sql("SELECT * FROM wa_sessions.event WHERE kind = 'unlinked'")
    assert (event["operation_id"], event["detail"]["device"]) == (closed["operation"], str(old.jid))
    assert "was unlinked at WhatsApp" in installation.cli("restore", closed["operation"], code=1).stderr


def test_what_goes_wrong_changes_nothing_and_can_be_done_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = _closed(installation, ALICE, CAROL)
    devices, store = [str(installation.devices[number].jid) for number in (ALICE, CAROL)], _store(installation)
    for name, value in installation.environment().items():
        monkeypatch.setenv(name, value)

    def ends(deadline: float = DEADLINE) -> list[str | None]:
        """What became of the two devices: an error, or whether they were unlinked already."""
        with open_database() as opened:
            changed = make(opened, Unlink(operation, deadline=deadline), Scope())
        done = [end for phone in changed.phones for end in phone.devices]
        assert [end.device.jid for end in done] == devices
        assert [end.unlinked for end in done] == [end.error is None for end in done]
        return [end.error or ("already" if end.already else "now") for end in done]

    installation.emu.silent(True)
    assert ends(deadline=1) == ["WhatsApp did not answer in 1 s"] * 2
    installation.emu.silent(False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert ends() == ["WhatsApp cannot be reached"] * 2
    monkeypatch.setenv("HTTPS_PROXY", installation.environment()["HTTPS_PROXY"])
    installation.emu.refuse_login(installation.phones[ALICE], LoginFailure.LOCKED)
    installation.emu.remove_device(installation.devices[CAROL])
    assert ends() == ["WhatsApp refused the login (main_device_gone)", "already"]
    assert installation.sql("SELECT number FROM wa_sessions.operation_phone WHERE unlinked_at IS NULL") == [
        {"number": ALICE}
    ]
    assert not installation.devices[ALICE].removed
    installation.emu.accept_login(installation.phones[ALICE])
    del devices[1]
    assert ends() == ["now"]
    assert installation.devices[ALICE].removed
    assert (_store(installation), installation.sql(SCHEMAS)) == (store, [])
    with pytest.raises(Conflict, match="already unlinked"):
        ends()


def test_killed_at_any_moment_it_can_be_done_again(installation: Installation) -> None:
    operation, old = _closed(installation, ALICE), installation.devices[ALICE]
    store = _store(installation)
    installation.emu.silent(True)
    unlinking = _started(installation, operation)
    (left,) = installation.until(SCHEMAS)
    installation.until(CONNECTING)
    os.kill(unlinking.pid, signal.SIGKILL)
    unlinking.wait()
    installation.emu.silent(False)
    assert installation.sql(SCHEMAS) == [left]
    for delay in (0.5, 0.7):
        unlinking = _started(installation, operation)
        with contextlib.suppress(warm.TimeoutExpired):
            unlinking.wait(delay)
        unlinking.kill()
        unlinking.wait()
        assert _store(installation) == store
    if installation.sql("SELECT number FROM wa_sessions.operation_phone WHERE unlinked_at IS NULL"):
        done = installation.json("unlink", operation, "--yes")
        assert (done["unlinked"], done["device"]) == (True, str(old.jid))
    assert old.removed
    assert (_store(installation), installation.sql(SCHEMAS)) == (store, [])


def _closed(installation: Installation, *numbers: str) -> str:
    """The operation that closed these phones for good; no worker runs any more."""
    worker = installation.paired(*numbers)
    assert worker.stop() == 0
    installation.sql("UPDATE whatsmeow.whatsmeow_device SET push_name = 'Flowers, Almaty'")
    return str(installation.json("force-close", "all", "--logout", "--yes")["operation"])


def _started(installation: Installation, operation: str) -> warm.Popen[bytes]:
    return warm.Popen([PROGRAM, "unlink", operation, "--yes"], env=installation.environment())


def _store(installation: Installation) -> dict[str, list[str]]:
    """The live store, every row of every table as text."""
    return {
        table.name: sorted(
            row["row"] for row in installation.sql(f"SELECT t::text AS row FROM whatsmeow.{table.name} AS t")
        )
        for table in TABLES
    }
