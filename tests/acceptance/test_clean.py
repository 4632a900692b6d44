"""Keys of a live session are cleaned by its worker, and the session works on."""

from support.client_process import ClientProcess
from support.installation import Installation
from support.pairing import link

ALICE = "77051234567"


def test_the_session_with_one_peer_is_cleaned_while_the_others_write_on(
    installation: Installation, peers: ClientProcess
) -> None:
    worker = installation.paired(ALICE)
    bob, carol = link(installation.emu, peers, "bob"), link(installation.emu, peers, "carol")
    for peer in (bob, carol):
        peer.send_to(ALICE, f"first from {peer.name}")
        worker.received(ALICE, f"first from {peer.name}")
        installation.cli("send", ALICE, peer.number, "reply")
        peer.gets("reply")
    stored = "SELECT count(*) AS n FROM whatsmeow.whatsmeow_sessions"
    sessions = installation.sql(stored)[0]["n"]
    planned = installation.json("clean-sessions", ALICE, "--peer", bob.number, "--dry-run")
    assert installation.sql(stored) == [{"n": sessions}]
    since = worker.mark()
    done = installation.json("clean-sessions", ALICE, "--peer", bob.number, "--yes")
    assert done["worker_id"]
    assert (done["matched"], done["by_type"], done["left"]) == (planned["matched"], planned["by_type"], 0)
    assert installation.sql(stored) == [{"n": sessions - done["by_type"]["session"]}]
    worker.expect("connected", ALICE, since=since)
    carol.send_to(ALICE, "from carol")
    worker.received(ALICE, "from carol", since=since)
    bob.send_to(ALICE, "from bob")
    worker.received(ALICE, "from bob", since=since)
    stats = installation.stats(ALICE)
    assert (stats["status"], stats["bad_mac_errors"], stats["messages_lost"]) == ("connected", 0, 0)
    assert not {"qr", "session_closed"} & set(worker.events(ALICE, since=since))

    refused = installation.cli("restore", done["operation"], code=1).stderr
    assert "--overwrite" in refused
    since = worker.mark()
    back = installation.json("restore", done["operation"], "--overwrite", "--yes")
    assert (back["keys"], back["worker_id"]) == (done["quarantined"], done["worker_id"])
    assert back["quarantined"] == 1  # the session that bob had made anew
    worker.expect("connected", ALICE, since=since)
    installation.json(*back["undo"].split()[1:], "--yes")
    bob.send_to(ALICE, "with the newer session")
    worker.received(ALICE, "with the newer session", since=since)


def test_app_state_versions_are_cleaned_and_sync_anew(installation: Installation) -> None:
    worker = installation.paired(ALICE)
    device, emu = installation.devices[ALICE], installation.emu
    emu.share_app_state_key(device)
    emu.phone_message(device, "after the key")
    worker.received(ALICE, "after the key")
    emu.mute(installation.phones[ALICE], "77050000000")
    emu.notify_app_state(device, "regular_high")
    versions = "SELECT name, version FROM whatsmeow.whatsmeow_app_state_version"
    installation.until(f"{versions} WHERE name = 'regular_high'")
    keys = installation.sql("SELECT count(*) AS n FROM whatsmeow.whatsmeow_app_state_sync_keys")
    since = worker.mark()
    done = installation.json("clean-app-state", "all", "--yes")
    assert len(done["phones"]) == 1
    assert done["by_type"]["app-state-sync-version"] >= 1
    assert done["left"] == 0
    assert installation.sql("SELECT count(*) AS n FROM whatsmeow.whatsmeow_app_state_sync_keys") == keys
    worker.expect("connected", ALICE, since=since)
    emu.notify_app_state(device, "regular_high")
    installation.until(f"{versions} WHERE name = 'regular_high'")
    refused = installation.cli("reset-status", ALICE, "connected", "--yes", code=5).stderr
    assert "runs" in refused
    assert "runs" in installation.cli("remove", ALICE, "--yes", code=5).stderr


def test_a_clean_that_fails_leaves_the_session_connected(installation: Installation, peers: ClientProcess) -> None:
    worker = installation.paired(ALICE)
    bob = link(installation.emu, peers, "bob")
    bob.send_to(ALICE, "before")
    worker.received(ALICE, "before")
    installation.sql(
        """CREATE FUNCTION wa_sessions.refuse() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN RAISE EXCEPTION 'not today' USING ERRCODE = '42501'; END $$;
           CREATE TRIGGER refuse BEFORE INSERT ON wa_sessions.quarantine
               FOR EACH ROW EXECUTE FUNCTION wa_sessions.refuse()"""
    )
    since = worker.mark()
    assert "not today" in installation.cli("clean-sessions", ALICE, "--yes", code=1).stderr
    worker.expect("connected", ALICE, since=since)
    bob.send_to(ALICE, "after")
    worker.received(ALICE, "after", since=since)
    assert installation.stats(ALICE)["status"] == "connected"
