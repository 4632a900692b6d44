"""``qr --watch`` beside a worker: what it prints links the phone, and it ends by itself."""

import json
import signal

from support import warm
from support.installation import PROGRAM, Installation
from support.waiting import PATIENCE

ALICE = "77051234567"


def test_the_qr_that_is_watched_links_the_phone(installation: Installation) -> None:
    installation.add(ALICE)
    worker = installation.run(ALICE)
    worker.expect("qr", ALICE)
    watching = warm.Popen(
        [PROGRAM, "qr", ALICE, "--watch", "--json"], env=installation.environment(), stdout=warm.PIPE, text=True
    )
    assert watching.stdout
    installation.emu.scan(json.loads(watching.stdout.readline())["qr"], installation.phones[ALICE])
    worker.expect("connected", ALICE)
    rest, _ = watching.communicate(timeout=PATIENCE)
    assert watching.returncode == 0
    last = json.loads(rest.splitlines()[-1])
    assert (last["qr"], last["status"]) == (None, "connected")


def test_ctrl_c_ends_watching(installation: Installation) -> None:
    installation.add(ALICE)
    watching = warm.Popen(
        [PROGRAM, "qr", ALICE, "--watch"], env=installation.environment(), stderr=warm.PIPE, text=True
    )
    assert watching.stderr
    assert f"wa-sessions run {ALICE}" in watching.stderr.readline()
    watching.send_signal(signal.SIGINT)
    assert watching.communicate(timeout=PATIENCE)[1] == ""
    assert watching.returncode == 130
