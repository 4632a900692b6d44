"""``export`` and ``import`` of a phone that a worker runs: the same linked device goes on, without a QR."""

from pathlib import Path

from support.backup_fixtures import new_key
from support.client_process import ClientProcess
from support.installation import Installation
from support.pairing import link

ALICE = "77051234567"


def test_a_worker_lets_the_phone_go_and_it_goes_on_elsewhere(
    installation: Installation, peers: ClientProcess, tmp_path: Path
) -> None:
    worker = installation.paired(ALICE)
    bob = link(installation.emu, peers, "bob")
    bob.send_to(ALICE, "before the move")
    worker.received(ALICE, "before the move")
    key, file = new_key(tmp_path), str(tmp_path / "phone.age")
    left = installation.json("export", ALICE, file, "--recipient", key.recipient, "--yes")
    worker.expect("released", ALICE)
    worker.expect("standing_by")
    assert worker.stop() == 0
    assert (left["left"], installation.row(ALICE)["status"]) == (0, "disconnected")
    assert not installation.emu.connected(installation.devices[ALICE])
    bob.send_to(ALICE, "on the way")
    installation.json("import", file, "--identity", str(key.file), "--yes")
    again = installation.run(ALICE)
    again.expect("connected", ALICE)
    again.received(ALICE, "on the way")
    assert "qr" not in again.events(ALICE)
    assert installation.json("stats", ALICE)["bad_mac_errors"] == 0
