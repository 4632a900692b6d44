"""A phone moves from real Baileys to our worker and back: no QR, every message arrives, nobody asks for one again."""

import random
import subprocess
from typing import Any

import pytest
from support.baileys import Baileys, answer, node_phone, reconnect
from support.client_process import ClientProcess
from support.installation import Installation, Worker
from support.pairing import Party, link

from wa_sessions.emulator import LoginFailure

ALICE = "77051234567"
GROUP = "120363000000000001"
LATE_IN_GROUP = "late in the group"
KILLS = 2

pytestmark = [pytest.mark.program("node"), pytest.mark.program("npm")]


class Story:
    """Alice, who moves, a neonize peer, a Baileys peer, and a group of all three."""

    def __init__(self, installation: Installation, node: Baileys, peers: ClientProcess) -> None:
        self.installation, self.node = installation, node
        self.alice = node_phone(installation, node, ALICE)
        self.bob, self.carol = link(installation.emu, peers, "bob"), link(installation.emu, node, "carol")
        installation.emu.group(GROUP, [self.alice.phone, self.bob.phone, self.carol.phone])
        self.peers = (self.bob, self.carol)

    def writes(self, peer: Party, text: str) -> None:
        """A peer writes to Alice: bob to her number, as whatsmeow knows her LID; carol's Baileys to the LID itself."""
        if peer is self.carol:
            answer(peer, self.alice, text)
        else:
            peer.send(self.alice, text)

    def talk(self) -> None:
        """Sessions both ways, a group, app state."""
        for peer in self.peers:
            for n in range(2):
                self.writes(peer, f"{peer.name} {n}")
                self.alice.gets(f"{peer.name} {n}")
                answer(self.alice, peer, f"to {peer.name} {n}")
                peer.gets(f"to {peer.name} {n}")
        self.alice.send_to(GROUP, "to all", server="g.us")
        for peer in self.peers:
            peer.gets("to all")
            peer.send_to(GROUP, f"{peer.name} to all", server="g.us")
            self.alice.gets(f"{peer.name} to all")
        self.installation.emu.share_app_state_key(self.alice.device)
        self.installation.until("SELECT key FROM public.baileys_auth WHERE key LIKE 'app-state-sync-key-%'")
        since = self.node.lines.mark()
        self.installation.emu.mute(self.alice.phone, "77050000001")
        self.installation.emu.notify_app_state(self.alice.device, "regular_high")
        self.node.event(ALICE, "Chat", since=since)

    def keep_back(self) -> list[Any]:
        """Two messages of bob's, and one to the group, that WhatsApp delivers only later."""
        emu, alice, bob = self.installation.emu, self.alice, self.bob
        kept = [emu.delay_messages(alice.phone, sender=bob.phone, count=2)]
        for text in ("late 1", "late 2", "in time"):
            bob.send(alice, text)
        alice.gets("in time")
        kept.append(emu.delay_messages(alice.phone, sender=bob.phone, count=1))
        for text in (LATE_IN_GROUP, "in time in the group"):
            bob.send_to(GROUP, text, server="g.us")
        alice.gets("in time in the group")
        return kept

    def write_meanwhile(self) -> list[str]:
        """What waits while nobody is connected: old acquaintances, a group, somebody new, app state."""
        for peer in self.peers:
            self.writes(peer, f"{peer.name} queued")
        self.bob.send_to(GROUP, "queued in the group", server="g.us")
        dave = link(self.installation.emu, self.bob.clients, "dave")
        dave.send(self.alice, "somebody new")
        self.installation.emu.mute(self.alice.phone, "77050000002")
        return [*(f"{peer.name} queued" for peer in self.peers), "queued in the group", "somebody new"]

    def end_node(self) -> None:
        self.node.end(ALICE)
        self.installation.emu.wait_disconnected(self.alice.device)

    def retries(self) -> int:
        devices = [self.alice.device, *(peer.device for peer in self.peers)]
        return sum(len(self.installation.emu.retry_receipts(device)) for device in devices)

    def version(self) -> int:
        """How far the worker's app state is."""
        [row] = self.installation.sql(
            "SELECT version FROM whatsmeow.whatsmeow_app_state_version WHERE name = 'regular_high'"
        )
        return int(row["version"])

    def sends(self, to: str, text: str) -> None:
        self.installation.cli("send", ALICE, to, text)


def test_there_and_back(installation: Installation, node: Baileys, peers: ClientProcess) -> None:
    story = Story(installation, node, peers)
    story.talk()
    kept, before = story.keep_back(), story.retries()
    story.end_node()
    queued = story.write_meanwhile()
    installation.cli("adopt", ALICE, "--yes")
    version = story.version()

    worker = installation.run(ALICE)
    worker.expect("connected", ALICE)
    for text in queued:
        worker.received(ALICE, text)
    for delay in kept:
        installation.emu.release(delay)
    for text in ("late 1", "late 2", LATE_IN_GROUP):
        worker.received(ALICE, text)
    _talk_on(story, worker)
    installation.emu.notify_app_state(story.alice.device, "regular_high")
    installation.until(
        "SELECT 1 AS yes FROM whatsmeow.whatsmeow_app_state_version WHERE name = 'regular_high' AND version > %s",
        version,
    )
    assert "Full sync" not in str(worker.lines.since(0))
    assert (story.retries(), "qr" in worker.events(ALICE)) == (before, False)
    assert installation.stats(ALICE)["messages_pending"] == 0

    installation.cli("return", ALICE, "--yes")
    worker.expect("standing_by")
    assert worker.stop() == 0
    queued = [f"{peer.name} queued again" for peer in story.peers]
    for peer in story.peers:
        story.writes(peer, f"{peer.name} queued again")
    since = node.lines.mark()
    reconnect(story.alice)
    for text in queued:
        story.alice.gets(text, since=since)
    for peer in story.peers:
        answer(story.alice, peer, f"Baileys again to {peer.name}")
        peer.gets(f"Baileys again to {peer.name}")
        peer.send_to(GROUP, f"{peer.name} to all again", server="g.us")
        story.alice.gets(f"{peer.name} to all again")
    assert story.retries() == before


def _talk_on(story: Story, worker: Worker) -> None:
    """Both ways, with each peer and in the group."""
    for peer in story.peers:
        story.sends(peer.number, f"ours to {peer.name}")
        peer.gets(f"ours to {peer.name}")
        story.writes(peer, f"{peer.name} answers")
        worker.received(ALICE, f"{peer.name} answers")
    story.sends(f"{GROUP}@g.us", "ours to all")
    for peer in story.peers:
        peer.gets("ours to all")
        peer.send_to(GROUP, f"{peer.name} answers all", server="g.us")
        worker.received(ALICE, f"{peer.name} answers all")


def test_adopt_and_run_until_it_is_proven(installation: Installation, node7: Baileys, peers: ClientProcess) -> None:
    story = Story(installation, node7, peers)
    story.talk()
    story.end_node()
    story.bob.send(story.alice, "queued")
    worker = _adopt_and_run(installation)
    worker.expect("takeover_proven", ALICE)
    worker.received(ALICE, "queued")
    assert worker.stop() == 0
    assert installation.row(ALICE)["connectionType"] == "neonize"


def test_what_does_not_connect_goes_back_with_its_old_keys(
    installation: Installation, node7: Baileys, peers: ClientProcess
) -> None:
    story = Story(installation, node7, peers)
    story.talk()
    story.end_node()
    keys = installation.sql("SELECT * FROM public.baileys_auth ORDER BY key")
    installation.emu.refuse_login(story.alice.phone, LoginFailure.BAD_REQUEST)
    worker = _adopt_and_run(installation)
    assert worker.wait() == 1
    assert "is the Node backend's again (its old keys restored)" in _raw(worker)
    assert installation.sql("SELECT * FROM public.baileys_auth ORDER BY key") == keys
    installation.emu.accept_login(story.alice.phone)
    _baileys_goes_on(story)


def test_what_has_not_connected_in_time_goes_back(
    installation: Installation, node7: Baileys, peers: ClientProcess
) -> None:
    story = Story(installation, node7, peers)
    story.talk()
    story.end_node()
    installation.emu.silent(True)
    worker = _adopt_and_run(installation, "--wait", "3s")
    assert worker.wait() == 1
    assert "its old keys restored): it did not connect within 3 s; start the Node backend again" in _raw(worker)
    installation.emu.silent(False)
    _baileys_goes_on(story)


def test_what_does_not_decrypt_goes_back_converted(
    installation: Installation, node7: Baileys, peers: ClientProcess
) -> None:
    story = Story(installation, node7, peers)
    story.talk()
    story.end_node()
    fault = installation.emu.damage_messages(to=story.alice.phone, sender=story.bob.phone, count=1)
    story.bob.send(story.alice, "damaged once")
    worker = _adopt_and_run(installation)
    assert worker.wait() == 1
    assert "is the Node backend's again (its keys as they are now, converted back)" in _raw(worker)
    fault.heal()
    _baileys_goes_on(story)


def _adopt_and_run(installation: Installation, *more: str) -> Worker:
    return installation.run(ALICE, "--run", "--yes", "--process-stopped", *more, command="adopt")


def _raw(worker: Worker) -> str:
    return " ".join(line["message"] for line in worker.lines.since(0) if line["event"] == "raw")


def _baileys_goes_on(story: Story) -> None:
    """The phone is the Node backend's, whole: no QR, both directions, the group."""
    assert story.installation.row(ALICE)["connectionType"] == "baileys"
    assert story.installation.sql("SELECT jid FROM whatsmeow.whatsmeow_device") == []
    since = story.node.lines.mark()
    reconnect(story.alice)
    for peer in story.peers:
        story.writes(peer, f"{peer.name} after all")
        story.alice.gets(f"{peer.name} after all", since=since)
        answer(story.alice, peer, f"after all to {peer.name}")
        peer.gets(f"after all to {peer.name}")
    story.bob.send_to(GROUP, "after all", server="g.us")
    story.alice.gets("after all", since=since)


def test_killed_at_any_moment_it_is_wholly_on_one_side(
    installation: Installation, node7: Baileys, peers: ClientProcess
) -> None:
    story, moments = Story(installation, node7, peers), random.Random(7)
    story.talk()
    story.end_node()
    for kill in range(KILLS):
        story.bob.send(story.alice, f"queued {kill}")
        worker = _adopt_and_run(installation)
        try:
            worker.process.wait(moments.uniform(0.6, 2.4))
        except subprocess.TimeoutExpired:
            worker.kill()
        if installation.row(ALICE)["connectionType"] == "neonize":
            assert installation.sql("SELECT key FROM public.baileys_auth") == []
            worker = installation.run(ALICE)
            worker.expect("connected", ALICE)
            story.bob.send(story.alice, f"after kill {kill}")
            worker.received(ALICE, f"after kill {kill}")
            assert worker.stop() == 0
            installation.cli("return", ALICE, "--yes")
        _baileys_goes_on(story)
        story.end_node()
