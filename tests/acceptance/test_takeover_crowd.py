"""Sessions of every shape go over: what waited, what comes late, what is new, both ways, and nobody asks again."""

from collections import Counter
from pathlib import Path

import pytest
from support.baileys import Baileys, node_phone
from support.installation import Installation, Worker
from support.peers import SHAPES, Crowd
from support.waiting import PATIENCE

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.sessions.send import send_text
from wa_sessions.db import backend
from wa_sessions.db.gateway import Database
from wa_sessions.keys.phone_ref import parse_phone

ALICE = "77051234567"
DAMAGING = "one still to come, of a closed session"
"""A late message of an archived session damages the current one in whatsmeow's library, with no takeover at all: what
the peer writes next is asked for once, and heals."""

pytestmark = [pytest.mark.program("node"), pytest.mark.program("npm")]


@pytest.mark.parametrize("size", [len(SHAPES), pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_sessions_of_every_shape(
    installation: Installation, database: Database, node: Baileys, node7: Baileys, size: int, tmp_path: Path
) -> None:
    """Prints the table of docs/explanation/takeover.md: ``pytest -m long -s -k every_shape``.

    Baileys 6 does not know which LID belongs to a number that it wrote to and that never answered; the map tells it.
    """
    crowd = Crowd(installation.emu, node_phone(installation, node, ALICE), node7, size)
    crowd.live()
    asked = crowd.retries()
    node.end(ALICE)
    installation.emu.wait_disconnected(installation.devices[ALICE])
    queued = crowd.write()
    pairs = tmp_path / "lids.csv"
    pairs.write_text("".join(f"{peer.party.phone.lid},{peer.party.number}\n" for peer in crowd.peers))
    installation.cli("adopt", ALICE, "--yes", "--lid-map", str(pairs))
    worker = installation.run(ALICE)
    worker.expect("connected", ALICE)
    _arrive(worker, queued)
    late = _arrive(worker, crowd.release())
    out = _send_to_all(database, crowd)
    new = _arrive(worker, crowd.write())
    asked = crowd.retries() - asked
    pending = installation.stats(ALICE)["messages_pending"]
    assert worker.stop() == 0
    _print(f"Baileys {node.version}", crowd, {"waited": queued, "came late": late, "new": new, "out": out})
    print(f"asked for again: {asked}; did not decrypt: {pending}")
    assert (asked, pending) == (sum(peer.shape == DAMAGING for peer in crowd.peers), 0)


def _arrive(worker: Worker, texts: list[str]) -> list[str]:
    for text in texts:
        worker.received(ALICE, text, timeout=PATIENCE)
    return texts


def _send_to_all(database: Database, crowd: Crowd) -> list[str]:
    """One message to each peer, and one into its group; their texts, once they have arrived."""
    with database.transaction() as conn:
        opened = Opened(database, backend.detect(conn))
    texts = []
    for peer in crowd.peers:
        for to in (peer.party.phone.lid_jid, *([peer.group] if peer.group else [])):
            text, since = peer.words("ours"), peer.party.clients.lines.mark()
            send_text(opened, parse_phone(ALICE), None, str(to), text)
            peer.party.gets(text, since=since)
            texts.append(text)
    return texts


def _print(title: str, crowd: Crowd, texts: dict[str, list[str]]) -> None:
    """How many messages of each kind arrived, by the shape of the session."""
    shapes = {peer.party.name: peer.shape for peer in crowd.peers}
    counts = {kind: Counter(shapes[text.split()[-1]] for text in found) for kind, found in texts.items()}
    peers = Counter(shapes.values())
    print(f"\n| {title}: the session | peers | {' | '.join(counts)} |")
    print(f"| --- | ---: |{' ---: |' * len(counts)}")
    for shape in SHAPES:
        print(f"| {shape} | {peers[shape]} | {' | '.join(str(count[shape]) for count in counts.values())} |")
    sums = " | ".join(str(count.total()) for count in counts.values())
    print(f"| all | {peers.total()} | {sums} |")
