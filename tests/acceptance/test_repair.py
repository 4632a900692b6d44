"""Bad MAC and Bad Decrypt, from the damaged byte on the wire to what an operator sees."""

import pytest
from support.client_process import ClientProcess
from support.installation import Installation, Worker
from support.pairing import Party, link
from tenacity import Retrying, stop_after_delay

from wa_sessions.emulator import AppStateDamage

ALICE = "77051234567"
KEYS = """
    SELECT (SELECT count(*) FROM whatsmeow.whatsmeow_sessions) AS sessions,
           (SELECT count(*) FROM whatsmeow.whatsmeow_sender_keys) AS sender_keys,
           (SELECT count(*) FROM whatsmeow.whatsmeow_device) AS devices
"""


def acquainted(installation: Installation, worker: Worker, peer: Party) -> Party:
    """Both sides have written, so that what follows is `msg`, not `pkmsg`."""
    peer.send_to(ALICE, "first")
    worker.received(ALICE, "first")
    installation.cli("send", ALICE, peer.number, "reply")
    peer.gets("reply")
    peer.send_to(ALICE, "second")
    worker.received(ALICE, "second")
    return peer


def test_damaged_messages_that_heal_cost_nothing(installation: Installation, peers: ClientProcess) -> None:
    worker = installation.paired(ALICE)
    bob = acquainted(installation, worker, link(installation.emu, peers, "bob"))
    before, since = installation.sql(KEYS), worker.mark()
    installation.emu.damage_messages(to=installation.phones[ALICE], sender=bob.phone, count=200, first_copies=True)
    for number in range(200):
        bob.send_to(ALICE, f"text {number}")
        worker.received(ALICE, f"text {number}", since=since)
    worker.lines.wait(lambda line: line.get("event") == "message_recovered", since=since, count=200)
    assert len(set(worker.texts(ALICE, since=since))) == 200
    stats = installation.stats(ALICE)
    assert (stats["messages_recovered"], stats["messages_lost"], stats["bad_mac_errors"]) == (200, 0, 0)
    assert (stats["status"], stats["severity"], stats["is_healthy"]) == ("connected", "ok", True)
    assert installation.sql(KEYS) == before
    assert installation.sql("SELECT count(*) AS n FROM wa_sessions.quarantine") == [{"n": 0}]
    assert "session_closed" not in worker.events(ALICE)


def test_senders_who_go_offline_count_nothing(
    installation: Installation, peers: ClientProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    worker = installation.paired(ALICE)
    fault = installation.emu.damage_messages(to=installation.phones[ALICE], sender=None, count=3)
    senders = []
    for name in ("bob", "carol", "dave"):
        folder = tmp_path_factory.mktemp(name)
        with ClientProcess(installation.emu.client_env(), folder) as client_process:
            peer = link(installation.emu, client_process, name)
            installation.emu.forget_sender(peer.device)
            peer.send_to(ALICE, f"from {name}")
            senders.append(peer)
    worker.lines.wait(lambda line: line.get("event") == "message_pending", count=3)
    assert fault.hits == 3
    stats = installation.stats(ALICE)
    assert (stats["messages_pending"], stats["bad_mac_errors"], stats["messages_lost"]) == (3, 0, 0)
    assert (stats["status"], stats["severity"]) == ("connected", "ok")


def test_three_lost_messages_close_the_session_and_restore_brings_it_back(
    installation: Installation, peers: ClientProcess
) -> None:
    worker = installation.paired(ALICE)
    pid = worker.process.pid
    bob, carol = (acquainted(installation, worker, link(installation.emu, peers, name)) for name in ("bob", "carol"))
    fault = installation.emu.damage_messages(to=installation.phones[ALICE], sender=bob.phone, count=None)
    since = worker.mark()
    for number in range(2):
        bob.send_to(ALICE, f"lost {number}")
        worker.expect("error_counted", ALICE, containing=f"Bad MAC error #{number + 1} for {ALICE}@", since=since)
    stats = installation.stats(ALICE)
    assert (stats["severity"], stats["is_healthy"], stats["bad_mac_errors"]) == ("critical", False, 2)
    bob.send_to(ALICE, "lost 2")
    closed = worker.expect("session_closed", ALICE, since=since)
    assert "wa-sessions restore" in closed["message"]
    assert "Linked devices" in closed["message"]
    worker.expect("qr", ALICE, since=since)
    assert installation.row(ALICE)["status"] == "pending"
    assert installation.row(ALICE)["qrCode"].startswith("http")
    assert _statuses(installation, since, worker) == ["logged_out", "pending"]
    assert worker.events(ALICE, since=since).count("session_closed") == 1
    assert worker.process.pid == pid
    assert not any(_store(installation).values())
    stats = installation.stats(ALICE)
    assert (stats["bad_mac_errors"], stats["bad_decrypt_errors"]) == (0, 0)

    fault.heal()
    since = worker.mark()
    restored = installation.json("restore", closed["operation"])
    kept = installation.sql(
        "SELECT count(*) AS n FROM wa_sessions.quarantine WHERE operation_id = %s", closed["operation"]
    )
    assert restored["keys"] == kept[0]["n"] > 50
    worker.expect("connected", ALICE, since=since)
    assert "qr" not in worker.events(ALICE, since=since)
    installation.emu.wait_delivered(installation.devices[ALICE])
    carol.send_to(ALICE, "after the restore")  # not bob, who may be sending his lost messages again
    worker.received(ALICE, "after the restore", since=since)


def test_close_and_restore_without_a_worker_are_byte_for_byte(installation: Installation, peers: ClientProcess) -> None:
    worker = installation.paired(ALICE)
    acquainted(installation, worker, link(installation.emu, peers, "bob"))
    assert worker.stop() == 0
    before = _store(installation)
    closed = installation.json("force-close", ALICE, "--logout", "--yes", "--reason", "test")
    assert not any(_store(installation).values())
    assert installation.row(ALICE)["status"] == "logged_out"
    installation.cli("restore", closed["operation"])
    assert _store(installation) == before


def test_the_failing_session_is_quarantined_only_while_it_is_the_one_that_failed(
    installation: Installation, peers: ClientProcess
) -> None:
    worker = installation.paired(ALICE)
    bob = acquainted(installation, worker, link(installation.emu, peers, "bob"))
    carol = acquainted(installation, worker, link(installation.emu, peers, "carol"))
    since = worker.mark()
    fault = installation.emu.damage_messages(to=installation.phones[ALICE], sender=bob.phone, count=None)
    bob.send_to(ALICE, "lost")
    repaired = worker.expect("session_quarantined", ALICE, since=since)
    assert repaired["keys"] == 1
    worker.expect("message_lost", ALICE, since=since)
    fault.heal()
    for peer in (bob, carol):
        peer.send_to(ALICE, f"hello from {peer.name}")
        worker.received(ALICE, f"hello from {peer.name}", since=since)
    assert worker.expect("counter_reset", ALICE, since=since)["error_kind"] == "bad_mac"
    stats = installation.stats(ALICE)
    assert (stats["messages_lost"], stats["bad_mac_errors"], stats["status"]) == (1, 0, "connected")


def test_in_a_group_the_sender_key_is_quarantined(installation: Installation, peers: ClientProcess) -> None:
    worker = installation.paired(ALICE)
    bob = acquainted(installation, worker, link(installation.emu, peers, "bob"))
    group = "120363000000000001"
    installation.emu.group(group, [installation.phones[ALICE], bob.phone])
    bob.send_to(group, "to all", server="g.us")
    worker.received(ALICE, "to all")
    since = worker.mark()
    fault = installation.emu.damage_messages(to=installation.phones[ALICE], sender=bob.phone, count=None)
    bob.send_to(group, "lost to all", server="g.us")
    repaired = worker.expect("sender_key_quarantined", ALICE, since=since)
    assert repaired["chat"] == "120363000000000001@g.us"
    fault.heal()
    bob.send_to(group, "to all again", server="g.us")
    worker.received(ALICE, "to all again", since=since)
    assert "session_quarantined" not in worker.events(ALICE, since=since)


def test_app_state_is_repaired_and_at_the_limit_the_session_closes(installation: Installation) -> None:
    worker = installation.paired(ALICE)
    emu, alice, device = installation.emu, installation.phones[ALICE], installation.devices[ALICE]
    emu.share_app_state_key(device)
    emu.phone_message(device, "after the key")
    worker.received(ALICE, "after the key")
    emu.mute(alice, "77050000000")
    emu.notify_app_state(device, "regular_high")
    installation.until("SELECT version FROM whatsmeow.whatsmeow_app_state_version WHERE name = 'regular_high'")
    damages = (AppStateDamage.CONTENT_MAC, AppStateDamage.INDEX_MAC, AppStateDamage.LTHASH, AppStateDamage.PATCH_MAC)
    for damage in damages:
        since = worker.mark()
        emu.damage_app_state(alice, "regular_high", damage)
        emu.mute(alice, "77050000001")
        emu.notify_app_state(device, "regular_high")
        worker.expect("error_counted", ALICE, containing="Bad Decrypt error #1", since=since)
        assert worker.expect("collection_quarantined", ALICE, since=since)["collection"] == "regular_high"
        emu.heal()
        for attempt in Retrying(stop=stop_after_delay(20), reraise=True):  # the first may meet the repair itself
            with attempt:
                emu.notify_app_state(device, "regular_high")
                reset = worker.expect("counter_reset", ALICE, since=since, timeout=3)
        assert reset["error_kind"] == "bad_decrypt"
    emu.damage_app_state(alice, "regular_high", AppStateDamage.MISSING_KEY)
    emu.mute(alice, "77050000002")
    emu.notify_app_state(device, "regular_high")
    since = worker.mark()
    emu.damage_app_state(alice, "regular_high", AppStateDamage.CONTENT_MAC)
    for count in range(1, 6):
        emu.notify_app_state(device, "regular_high")
        worker.expect("error_counted", ALICE, containing=f"Bad Decrypt error #{count}", since=since)
    assert worker.expect("session_closed", ALICE, since=since)["error_kind"] == "bad_decrypt"


def test_faults_on_one_of_four_phones_touch_no_other(installation: Installation, peers: ClientProcess) -> None:
    others = ["77051000001", "77051000002", "77051000003"]
    worker = installation.paired(ALICE, *others)
    bob = acquainted(installation, worker, link(installation.emu, peers, "bob"))
    installation.emu.damage_messages(to=installation.phones[ALICE], sender=bob.phone, count=None)
    for number in range(3):
        bob.send_to(ALICE, f"lost {number}")
        for other in others:
            bob.send_to(other, f"text {number}")
    worker.expect("session_closed", ALICE)
    for other in others:
        for number in range(3):
            worker.received(other, f"text {number}")
        stats = installation.stats(other)
        errors = (stats["bad_mac_errors"], stats["bad_decrypt_errors"], stats["messages_lost"])
        assert (stats["status"], *errors) == ("connected", 0, 0, 0)


def _store(installation: Installation) -> dict[str, list[str]]:
    """Every row of every table of the store that belongs to Alice, as text."""
    from wa_sessions.keys.whatsmeow_tables import TABLES

    return {
        table.name: sorted(
            str(row["row"])
            for row in installation.sql(
                f"SELECT t::text AS row FROM whatsmeow.{table.name} AS t WHERE {table.owner} LIKE %s", f"{ALICE}:%"
            )
        )
        for table in TABLES
    }


def _statuses(installation: Installation, since: int, worker: Worker) -> list[str]:
    """In which order the statuses were reached after a close."""
    kinds = {"session_closed": "logged_out", "pairing_started": "pending"}
    return [kinds[event] for event in worker.events(ALICE, since=since) if event in kinds]
