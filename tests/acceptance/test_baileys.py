"""Real Baileys on the emulator, its keys in the backend's table: the Node side of every move between the two worlds."""

import pytest
from support.baileys import Baileys, answer, node_phone, reconnect
from support.client_process import ClientProcess
from support.installation import Installation
from support.pairing import link

ALICE = "77051234567"
GROUP = "120363000000000001"

pytestmark = [pytest.mark.program("node"), pytest.mark.program("npm")]


def test_it_talks_and_goes_on_from_its_rows(installation: Installation, node: Baileys, peers: ClientProcess) -> None:
    alice = node_phone(installation, node, ALICE)
    bob, carol = link(installation.emu, peers, "bob"), link(installation.emu, node, "carol")
    assert (installation.row(ALICE)["status"], installation.row(ALICE)["phoneJid"]) == (
        "connected",
        f"{ALICE}:1@s.whatsapp.net",
    )
    installation.emu.group(GROUP, [alice.phone, bob.phone, carol.phone])
    for peer in (bob, carol):
        peer.send(alice, f"from {peer.name}")
        alice.gets(f"from {peer.name}")
        answer(alice, peer, f"to {peer.name}")
        peer.gets(f"to {peer.name}")
    alice.send_to(GROUP, "to all", server="g.us")
    bob.gets("to all")
    carol.gets("to all")
    bob.send_to(GROUP, "from bob to all", server="g.us")
    alice.gets("from bob to all")
    carol.gets("from bob to all")

    node.end(ALICE)
    installation.emu.wait_disconnected(alice.device)
    assert installation.row(ALICE)["status"] == "disconnected"
    bob.send(alice, "while away")
    bob.send_to(GROUP, "to all while away", server="g.us")
    carol.send(alice, "carol while away")
    keys = installation.json("keys", f"#{installation.row(ALICE)['id']}")
    (rows,) = installation.sql('SELECT count(*) AS n FROM public.baileys_auth WHERE "phoneJid" = %s', ALICE)
    assert (keys["store"], keys["total"], keys["by_type"]["creds"]) == ("baileys", rows["n"], 1)
    assert {"pre-key", "session", "sender-key"} < keys["by_type"].keys()

    since = node.lines.mark()
    reconnect(alice)
    for text in ("while away", "to all while away", "carol while away"):
        alice.gets(text, since=since)
    answer(alice, bob, "back again")
    bob.gets("back again")
    for party in (alice, bob, carol):
        assert installation.emu.retry_receipts(party.device) == []


def test_app_state_goes_both_ways(installation: Installation, node: Baileys) -> None:
    alice, name = node_phone(installation, node, ALICE), "regular_high"
    installation.emu.share_app_state_key(alice.device)
    installation.until("SELECT key FROM public.baileys_auth WHERE key LIKE 'app-state-sync-key-%'")
    since = node.lines.mark()
    installation.emu.mute(alice.phone, "77050000001")
    installation.emu.notify_app_state(alice.device, name)
    assert node.event(ALICE, "Chat", since=since)["id"] == "77050000001@s.whatsapp.net"
    node.modify(ALICE, "77050000002@s.whatsapp.net", {"mute": 4102444800000})
    node.name_contact(ALICE, "77050000003@s.whatsapp.net", "Dana")
    node.forget_contact(ALICE, "77050000003@s.whatsapp.net")
    assert (alice.phone.app_state.version(name), alice.phone.app_state.version("critical_unblock_low")) == (2, 2)

    node.end(ALICE)
    installation.emu.mute(alice.phone, "77050000004")
    reconnect(alice)
    since = node.lines.mark()
    installation.emu.notify_app_state(alice.device, name)
    assert node.event(ALICE, "Chat", since=since)["id"] == "77050000004@s.whatsapp.net"


def test_messages_that_overtake_others_arrive_all(
    installation: Installation, node: Baileys, peers: ClientProcess
) -> None:
    alice, bob = node_phone(installation, node, ALICE), link(installation.emu, peers, "bob")
    bob.send(alice, "first")
    alice.gets("first")
    answer(alice, bob, "reply")
    bob.gets("reply")
    delay = installation.emu.delay_messages(alice.phone, sender=bob.phone, count=2)
    for text in ("late 1", "late 2", "in time"):
        bob.send(alice, text)
    alice.gets("in time")
    assert delay.hits == 2
    assert "late 1" not in node.texts(ALICE)
    installation.emu.release(delay)
    alice.gets("late 1")
    alice.gets("late 2")
    assert installation.emu.retry_receipts(alice.device) == []
