"""Real neonize clients pair with the emulator, talk through it, and suffer the faults it makes."""

from pathlib import Path

import pytest
from support.client_process import ClientProcess
from support.pairing import Party, folder, link, new_number

from wa_sessions.emulator import Course, Emulator, EmulatorError, NotWaiting, PairingRefused

pytestmark = pytest.mark.usefixtures("healed")

GROUP = "120363000000000001"


def test_pairing_and_a_first_message(emu: Emulator, client_process: ClientProcess, bob: Party) -> None:
    carol = link(emu, client_process, "carol")
    carol.send(bob, "first")
    bob.gets("first")
    assert str(carol.device.jid) == f"{carol.number}:1@s.whatsapp.net"
    assert emu.device(carol.phone) is carol.device
    assert emu.connected(carol.device)


def test_messages_go_both_ways_and_are_acknowledged(emu: Emulator, alice: Party, bob: Party) -> None:
    alice.send(bob, "ping")
    bob.gets("ping")
    bob.send(alice, "pong")
    alice.gets("pong")
    emu.wait_delivered(alice.device)
    emu.wait_delivered(bob.device)
    sent = {s.node.text("id") for s in emu.sent if s.node.tag == "message"}
    receipts = {s.node.text("id") for s in emu.history if s.course is Course.FROM_CLIENT and s.node.tag == "receipt"}
    assert sent <= receipts


def test_pairing_by_code(emu: Emulator, client_process: ClientProcess) -> None:
    phone = emu.add_phone(new_number(), "code")
    client_process.add("code")
    client_process.event("code", "QR")
    code = client_process.do("pair-code", "code", number=phone.number)
    device = emu.enter_code(phone, code)
    client_process.event("code", "Connected")
    assert emu.connected(device)


def test_a_wrong_code_links_nothing(emu: Emulator, client_process: ClientProcess) -> None:
    phone = emu.add_phone(new_number(), "typo")
    client_process.add("typo")
    client_process.event("typo", "QR")
    code = client_process.do("pair-code", "typo", number=phone.number)
    wrong = code[:-1] + ("1" if code[-1] != "1" else "2")
    with pytest.raises(PairingRefused):
        emu.enter_code(phone, wrong)
    assert emu.device(phone) is None


@pytest.mark.parametrize("fault", ["hmac", "signature"])
def test_a_client_refuses_an_identity_that_is_not_signed_well(
    emu: Emulator, client_process: ClientProcess, fault: str
) -> None:
    phone, name = emu.add_phone(new_number(), fault), f"refuses-{fault}"
    client_process.add(name)
    device = emu.scan(client_process.event(name, "QR")["code"], phone, fault=fault)
    client_process.event(name, "LoginStatus")
    emu.wait_until(lambda: device.removed, 5)
    assert emu.device(phone) is None


def test_a_qr_code_is_good_for_one_scan(emu: Emulator, client_process: ClientProcess) -> None:
    phone = emu.add_phone(new_number(), "twice")
    client_process.add("twice")
    code = client_process.event("twice", "QR")["code"]
    emu.scan(code, phone)
    client_process.event("twice", "Connected")
    for shown in (code, "2@nobody,YQ==,YQ==,YQ==", "nonsense"):
        with pytest.raises(NotWaiting):
            emu.scan(shown, phone)


def test_a_number_has_one_phone(emu: Emulator, alice: Party) -> None:
    with pytest.raises(EmulatorError, match=alice.number):
        emu.add_phone(alice.number, "again")


def test_200_messages_damaged_once_all_heal(
    emu: Emulator, client_process: ClientProcess, alice: Party, bob: Party
) -> None:
    since = client_process.lines.mark()
    fault = emu.damage_messages(bob.phone, sender=alice.phone, count=200, first_copies=True)
    wanted = [f"heals {i}" for i in range(200)]
    for text in wanted:  # one after another: whatsmeow gives two messages one counter if it resends while it sends
        alice.send(bob, text)
        bob.gets(text, since=since)
    assert client_process.texts("bob", since=since) == wanted
    assert (fault.hits, fault.healed()) == (200, True)
    assert client_process.count("bob", "UndecryptableMessage", since=since) == 200


def test_a_message_whose_every_copy_is_damaged_fails_five_times(
    emu: Emulator, client_process: ClientProcess, alice: Party, bob: Party
) -> None:
    since = client_process.lines.mark()
    fault = emu.damage_messages(bob.phone, sender=alice.phone)
    message_id = alice.send(bob, "never")
    client_process.event("bob", "UndecryptableMessage", since=since, count=5)
    client_process.log(f"Not sending any more retry receipts for {message_id}", since=since)
    assert [count for lost, count in emu.retry_receipts(bob.device) if lost == message_id] == [1, 2, 3, 4]
    assert fault.hits == 5
    fault.heal()
    alice.send(bob, "after the fault")
    bob.gets("after the fault")
    assert "never" not in client_process.texts("bob", since=since)


def test_damage_strikes_only_the_named_sender(
    emu: Emulator, client_process: ClientProcess, alice: Party, bob: Party
) -> None:
    dave = link(emu, client_process, "dave")
    fault = emu.damage_messages(bob.phone, sender=dave.phone)
    alice.send(bob, "not meant")
    bob.gets("not meant")
    assert fault.hits == 0


def test_a_sender_that_hears_of_no_failure_sends_again_once_it_does(
    emu: Emulator, client_process: ClientProcess, alice: Party, bob: Party
) -> None:
    since = client_process.lines.mark()
    emu.forget_sender(alice.device)
    emu.damage_messages(bob.phone, sender=alice.phone, count=1, first_copies=True)
    alice.send(bob, "later")
    client_process.event("bob", "UndecryptableMessage", since=since)
    emu.wait_until(lambda: alice.device.mailbox.waiting("receipt") == 1, 5)
    assert client_process.texts("bob", since=since) == []
    emu.remember_sender(alice.device)
    bob.gets("later", since=since)


def test_retry_receipts_wait_for_a_sender_that_went_offline(
    emu: Emulator, client_process: ClientProcess, bob: Party, tmp_path: Path
) -> None:
    since = client_process.lines.mark()
    with ClientProcess(emu.client_env(), tmp_path) as elsewhere:
        erin = link(emu, elsewhere, "erin")
        emu.withhold(bob.phone)
        emu.damage_messages(bob.phone, sender=erin.phone, count=1)
        erin.send(bob, "last words")
        elsewhere.kill()
    emu.wait_disconnected(erin.device)
    emu.hear(bob.phone)
    client_process.event("bob", "UndecryptableMessage", since=since)
    emu.wait_until(lambda: erin.device.mailbox.waiting("receipt") == 1, 5)
    assert emu.queued(erin.device, "receipt") == 1


def test_a_damaged_group_message_heals(emu: Emulator, client_process: ClientProcess, alice: Party, bob: Party) -> None:
    emu.group(GROUP, [alice.phone, bob.phone])
    since = client_process.lines.mark()
    client_process.send("alice", GROUP, "to all", server="g.us")
    bob.gets("to all", since=since)
    fault = emu.damage_messages(bob.phone, kinds=["skmsg"], count=1)
    client_process.send("alice", GROUP, "damaged in the group", server="g.us")
    client_process.log("failed to decrypt group message", since=since)
    bob.gets("damaged in the group", since=since)
    assert fault.hits == 1


def test_the_phone_writes_to_its_companion(emu: Emulator, client_process: ClientProcess, bob: Party) -> None:
    since = client_process.lines.mark()
    emu.damage_messages(bob.phone)
    emu.phone_message(bob.device, "note to self")
    bob.gets("note to self", since=since)
    damaged = emu.phone_message(bob.device, "broken", damage=True)
    client_process.log("failed to decrypt prekey message", since=since)
    emu.wait_until(lambda: (damaged, 1) in bob.device.retry_receipts, 5)


def test_prekeys_are_filled_up_before_they_run_out(emu: Emulator, client_process: ClientProcess) -> None:
    busy = link(emu, client_process, "busy")
    for i in range(60):
        emu.phone_message(busy.device, f"busy {i}")
    client_process.event("busy", "Message", count=60)
    emu.wait_until(lambda: len(busy.device.prekeys) >= 40, 10)


def test_a_new_device_gets_what_peers_write_next(
    emu: Emulator, client_process: ClientProcess, alice: Party, tmp_path: Path
) -> None:
    frank = link(emu, client_process, "frank")
    alice.send(frank, "to the first device")
    frank.gets("to the first device")
    with ClientProcess(emu.client_env(), folder(tmp_path, "second")) as elsewhere:
        second = link(emu, elsewhere, "frank", frank.phone)
        assert second.device.id == 2
        assert emu.device(frank.phone) is second.device
        alice.send(frank, "to both devices")
        second.gets("to both devices")
        frank.gets("to both devices")


def test_messages_wait_for_an_offline_client_in_order(emu: Emulator, alice: Party, tmp_path: Path) -> None:
    place = folder(tmp_path, "offline")
    with ClientProcess(emu.client_env(), place) as first:
        gina = link(emu, first, "gina")
        alice.send(gina, "while online")
        gina.gets("while online")
        emu.wait_delivered(gina.device)
    emu.wait_disconnected(gina.device)
    texts = [f"waiting {i}" for i in range(40)]
    for text in texts:
        alice.send(gina, text)
    assert emu.queued(gina.device) == 40
    with ClientProcess(emu.client_env(), place) as second:
        gina.restart(second)
        second.event("gina", "Message", count=40)
        assert second.texts("gina") == texts
        emu.wait_delivered(gina.device)


def test_late_messages_are_overtaken_and_arrive(
    emu: Emulator, client_process: ClientProcess, alice: Party, bob: Party
) -> None:
    alice.send(bob, "before the late ones")
    bob.gets("before the late ones")
    since, delay = client_process.lines.mark(), emu.delay_messages(bob.phone, sender=alice.phone, count=2)
    texts = ["late 1", "late 2", "in time"]
    for text in texts:
        alice.send(bob, text)
    bob.gets("in time", since=since)
    assert (delay.hits, client_process.texts("bob", since=since)) == (2, ["in time"])
    emu.release(delay)
    bob.gets("late 2", since=since)
    assert client_process.texts("bob", since=since) == ["in time", "late 1", "late 2"]
    ids = {line["id"] for line in client_process.lines.since(since) if line.get("event") == "Message"}
    assert not ids & {asked for asked, _ in emu.retry_receipts(bob.device)}


def test_a_client_that_logs_out_is_unlinked(emu: Emulator, client_process: ClientProcess, alice: Party) -> None:
    gone = link(emu, client_process, "gone")
    client_process.do("logout", "gone")
    emu.wait_until(lambda: gone.device.removed, 5)
    assert emu.device(gone.phone) is None
    emu.wait_disconnected(gone.device)
    alice.send(gone, "to nobody")
    assert emu.queued(gone.device) == 0
