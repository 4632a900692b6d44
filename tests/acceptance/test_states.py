"""However a session ends, `stats` names it, nothing piles up, and nothing reconnects that must not."""

import threading

import pytest
from support.client_process import ClientProcess
from support.installation import Installation, Worker
from tenacity import Retrying, stop_after_delay, wait_fixed

from wa_sessions.emulator import LoginFailure

ALICE = "77051234567"


def _settled(installation: Installation, worker: Worker, state: str, status: str) -> dict[str, object]:
    stats = installation.stats(ALICE)
    assert (stats["state"], stats["status"]) == (state, status)
    worker.until_hosts(0)
    return stats


def _logins(installation: Installation) -> int:
    return installation.devices[ALICE].logins


def test_replaced_stays_down_until_restart(installation: Installation) -> None:
    worker = installation.paired(ALICE)
    installation.emu.replace(installation.devices[ALICE])
    worker.expect("replaced", ALICE)
    _settled(installation, worker, "replaced", "disconnected")
    logins, since = _logins(installation), worker.mark()
    installation.cli("restart", ALICE)
    worker.expect("connected", ALICE, since=since)
    assert _logins(installation) == logins + 1


def test_logged_out_by_whatsapp_needs_a_relink(installation: Installation) -> None:
    worker = installation.paired(ALICE)
    installation.emu.remove_device(installation.devices[ALICE])
    worker.expect("logged_out", ALICE)
    _settled(installation, worker, "logged_out", "logged_out")
    since = worker.mark()
    installation.cli("relink", ALICE)
    installation.scan(worker, ALICE, since=since)
    worker.expect("connected", ALICE, since=since)
    assert installation.row(ALICE)["phoneJid"] == f"{ALICE}:2@s.whatsapp.net"


@pytest.mark.parametrize(
    ("failure", "state"),
    [(LoginFailure.BAD_REQUEST, "login_refused"), (LoginFailure.OUTDATED, "outdated")],
)
def test_a_refused_login_stays_down(installation: Installation, failure: LoginFailure, state: str) -> None:
    worker = installation.paired(ALICE)
    installation.emu.refuse_login(installation.phones[ALICE], failure)
    installation.emu.drop(installation.devices[ALICE])
    worker.expect(state, ALICE)
    _settled(installation, worker, state, "disconnected")


def test_a_ban_is_waited_out_even_by_another_worker(installation: Installation) -> None:
    worker = installation.paired(ALICE)
    installation.emu.refuse_login(installation.phones[ALICE], LoginFailure.TEMPORARY_BAN, expire_seconds=15)
    installation.emu.drop(installation.devices[ALICE])
    worker.expect("banned", ALICE)
    stats = _settled(installation, worker, "banned", "disconnected")
    assert stats["retry_at"]
    assert "could prolong it" in installation.cli("restart", ALICE, code=1).stderr
    installation.emu.accept_login(installation.phones[ALICE])
    assert worker.stop() == 0
    logins = _logins(installation)
    second = installation.run(ALICE)
    second.expect("banned", ALICE)
    assert _logins(installation) == logins
    second.expect("connected", ALICE)


def test_whatsapp_that_never_answers_is_unreachable(installation: Installation) -> None:
    installation.add(ALICE)
    installation.emu.silent(True)
    worker = installation.run(ALICE, "--answer-timeout", "2", "--pairing-window", "15s")
    worker.expect("pairing_failed", ALICE, containing="does not answer")
    worker.expect("pairing_expired", ALICE)
    _settled(installation, worker, "pairing_expired", "logged_out")
    installation.emu.silent(False)
    since = worker.mark()
    installation.cli("relink", ALICE)
    installation.scan(worker, ALICE, since=since)
    worker.expect("connected", ALICE)
    installation.emu.silent(True)
    installation.emu.drop(installation.devices[ALICE])
    worker.expect("unreachable", ALICE)
    installation.until("SELECT 1 FROM wa_sessions.health WHERE state = 'unreachable' AND retry_at > now()")
    assert installation.stats(ALICE)["status"] in ("reconnecting", "loading")
    installation.emu.silent(False)
    since = worker.mark()
    worker.expect("connected", ALICE, since=since)
    worker.until_hosts(1)


def test_an_expired_qr_is_taken_away(installation: Installation) -> None:
    installation.add(ALICE)
    worker = installation.run(ALICE, "--pairing-window", "12s")
    worker.expect("qr", ALICE)
    assert installation.row(ALICE)["qrCode"]
    worker.expect("pairing_expired", ALICE)
    _settled(installation, worker, "pairing_expired", "logged_out")
    assert installation.row(ALICE)["qrCode"] is None


def test_a_failed_pairing_shows_a_new_qr(installation: Installation) -> None:
    installation.add(ALICE)
    worker = installation.run(ALICE)
    worker.expect("qr", ALICE)
    installation.emu.scan(installation.row(ALICE)["qrCode"], installation.phones[ALICE], fault="hmac")
    worker.expect("pairing_failed", ALICE)
    since = worker.mark()
    installation.scan(worker, ALICE, since=since)
    worker.expect("connected", ALICE)
    worker.until_hosts(1)


def test_a_qr_scanned_by_another_number_leaves_nothing_behind(installation: Installation) -> None:
    installation.add(ALICE)
    mallory = installation.emu.add_phone("77059999999", "Mallory")
    worker = installation.run(ALICE)
    worker.expect("qr", ALICE)
    device = installation.emu.scan(installation.row(ALICE)["qrCode"], mallory)
    wrong = worker.expect("wrong_number", ALICE)
    assert "77059999999" in wrong["message"]
    assert "unlinked" in wrong["message"]
    assert device.removed
    installation.until("SELECT 1 FROM wa_sessions.health WHERE state_detail = 'the QR was scanned by 77059999999'")
    since = worker.mark()
    worker.expect("qr", ALICE, since=since)
    row = installation.row(ALICE)
    assert (row["status"], row["phoneJid"]) == ("pending", f"{ALICE}@s.whatsapp.net")
    for table in ("device", "sessions", "identity_keys", "pre_keys", "privacy_tokens", "contacts"):
        assert installation.sql(f"SELECT count(*) AS n FROM whatsmeow.whatsmeow_{table}") == [{"n": 0}], table
    assert installation.sql("SELECT count(*) AS n FROM whatsmeow.whatsmeow_lid_map WHERE pn = '77059999999'") == [
        {"n": 0}
    ]
    installation.scan(worker, ALICE, since=since)
    worker.expect("connected", ALICE)


def test_an_account_that_is_written_the_short_way_is_the_same(installation: Installation) -> None:
    """Brazil's accounts of before the ninth digit have none at WhatsApp."""
    number, account = "5511987654321", "551187654321"
    installation.add(number)
    owner = installation.emu.add_phone(account, "Owner")
    worker = installation.run(number)
    worker.expect("qr", number)
    device = installation.emu.scan(installation.row(number)["qrCode"], owner)
    worker.expect("connected", number)
    assert not device.removed
    assert "wrong_number" not in worker.events(number)
    [row] = installation.sql("""SELECT "status", "phoneJid" FROM public."OrganizationPhone" """)
    assert (row["status"], row["phoneJid"].partition(":")[0]) == ("connected", account)
    since = worker.mark()
    installation.emu.drop(device)
    worker.expect("connected", number, since=since)
    for spelling in (number, account):
        assert installation.json("stats", spelling)["phone"] == account
        since = worker.mark()
        installation.json("restart", spelling)
        worker.expect("connected", number, since=since)
    assert "let_go" not in worker.events(number)
    assert worker.stop() == 0
    installation.run(account).expect("connected", account)


def test_dropped_connections_come_back_without_a_new_process(installation: Installation, peers: ClientProcess) -> None:
    worker = installation.paired(ALICE)
    hosts, device = worker.hosts(), installation.devices[ALICE]
    for cut in (installation.emu.drop, installation.emu.unavailable, installation.emu.close):
        since = worker.mark()
        cut(device)
        worker.expect("connected", ALICE, since=since)
    assert worker.hosts() == hosts
    threads = threading.active_count()
    assert threads < 50


def test_many_restarts_leave_no_process_or_thread(installation: Installation) -> None:
    worker = installation.paired(ALICE)
    counts = []
    for _ in range(6):
        since = worker.mark()
        installation.cli("restart", ALICE)
        worker.expect("connected", ALICE, since=since)
        worker.until_hosts(1)
        counts.append(len(worker.children()))
    assert counts[-1] == counts[0]


@pytest.mark.long
def test_at_rest_sessions_hold_no_connection(installation: Installation) -> None:
    """whatsmeow never closes the connections of a login that ended: the server does, after a minute."""
    worker = installation.paired(ALICE)
    for _ in range(6):
        since = worker.mark()
        installation.cli("restart", ALICE)
        worker.expect("connected", ALICE, since=since)
    assert _connections(installation) > 10
    for attempt in Retrying(stop=stop_after_delay(90), wait=wait_fixed(1), reraise=True):
        with attempt:
            assert _connections(installation) <= 7
    installation.emu.phone_message(installation.devices[ALICE], "after the rest")
    worker.received(ALICE, "after the rest")


def _connections(installation: Installation) -> int:
    [row] = installation.sql(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return int(row["n"])
