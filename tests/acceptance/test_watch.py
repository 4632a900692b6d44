"""What a monitor sees of a session that breaks on the wire."""

import urllib.request

from support.client_process import ClientProcess
from support.installation import Installation
from support.pairing import link
from support.waiting import PATIENCE

ALICE = "77051234567"


def _check(installation: Installation, code: int) -> str:
    done = installation.cli("check", ALICE, code=code)
    assert done.stderr == ""
    line, _, figures = done.stdout.rstrip("\n").partition(" | ")
    assert figures.startswith("bad_mac=")
    return line


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        return str(answer.read().decode())


def test_each_state_has_its_line(installation: Installation, peers: ClientProcess) -> None:
    worker = installation.paired(ALICE, arguments=("--metrics-listen", "127.0.0.1:0"))
    port = worker.expect("metrics")["port"]
    head = f"WA-SESSIONS {{}} - {ALICE}: "
    assert _check(installation, 0) == head.format("OK") + "connected, Bad MAC 0 of 3, Bad Decrypt 0 of 5"

    bob = link(installation.emu, peers, "bob")
    installation.emu.damage_messages(to=installation.phones[ALICE], sender=bob.phone, count=None)
    bob.send_to(ALICE, "lost 0")
    worker.expect("error_counted", ALICE, containing="error #1 ")
    assert _check(installation, 1) == head.format("WARNING") + "Bad MAC 1 of 3, Bad Decrypt 0 of 5"
    bob.send_to(ALICE, "lost 1")
    worker.expect("error_counted", ALICE, containing="error #2 ")
    assert (
        _check(installation, 2)
        == head.format("CRITICAL") + "Bad MAC 2 of 3, Bad Decrypt 0 of 5: the next error closes it"
    )
    told = _scrape(port)
    place = f'organization="1",phone="{ALICE}"'
    assert 'wa_sessions_sessions{connection_type="neonize",severity="critical",status="connected"} 1.0' in told
    assert f'wa_sessions_session_info{{connection_type="neonize",id="1",{place},severity="critical",' in told
    assert f'wa_sessions_counted_errors_total{{id="1",kind="bad_mac",{place}}} 2.0' in told
    assert "wa_sessions_database_transaction_seconds_count 0.0" not in told
    for figure in ("hosts 1.0", "host_clients 1.0", "host_crashes_total 0.0", "unknown_frames_total 0.0"):
        assert f"wa_sessions_{figure}\n" in told
    assert bob.number not in told

    installation.emu.replace(installation.devices[ALICE])
    worker.expect("replaced", ALICE)
    assert _check(installation, 3) == head.format("UNKNOWN") + "not connected (replaced)"
    since = worker.mark()
    installation.cli("restart", ALICE)
    worker.expect("connected", ALICE, since=since)
    assert _check(installation, 0) == head.format("OK") + "connected, Bad MAC 0 of 3, Bad Decrypt 0 of 5"
    installation.emu.remove_device(installation.devices[ALICE])
    worker.expect("logged_out", ALICE, since=since)
    assert _check(installation, 2) == head.format("CRITICAL") + "logged out"
    history = [entry["kind"] for entry in installation.json("errors", ALICE)["history"]]
    assert history.count("error_counted") == 2
    assert "counter_reset" in history
    worker.stop()
    assert _check(installation, 2) == head.format("CRITICAL") + "logged out; no worker runs it"
