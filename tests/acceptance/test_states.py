"""However a session ends, `stats` names it, nothing piles up, and nothing reconnects that must not."""

import threading

import pytest
from support.client_process import ClientProcess
from support.installation import Installation, Worker
from tenacity import Retrying, stop_after_delay, wait_fixed

from wa_sessions.emulator import LoginFailure

ALICE = "77051234567"


def _settled(house: Installation, worker: Worker, state: str, status: str) -> dict[str, object]:
    stats = house.stats(ALICE)
    assert (stats["state"], stats["status"]) == (state, status)
    worker.until_hosts(0)
    return stats


def _logins(house: Installation) -> int:
    return house.devices[ALICE].logins


def test_replaced_stays_down_until_restart(house: Installation) -> None:
    worker = house.paired(ALICE)
    house.emu.replace(house.devices[ALICE])
    worker.expect("replaced", ALICE)
    _settled(house, worker, "replaced", "disconnected")
    logins, since = _logins(house), worker.mark()
    house.cli("restart", ALICE)
    worker.expect("connected", ALICE, since=since)
    assert _logins(house) == logins + 1


def test_logged_out_by_whatsapp_needs_a_relink(house: Installation) -> None:
    worker = house.paired(ALICE)
    house.emu.remove_device(house.devices[ALICE])
    worker.expect("logged_out", ALICE)
    _settled(house, worker, "logged_out", "logged_out")
    since = worker.mark()
    house.cli("relink", ALICE)
    house.scan(worker, ALICE, since=since)
    worker.expect("connected", ALICE, since=since)
    assert house.row(ALICE)["phoneJid"] == f"{ALICE}:2@s.whatsapp.net"


@pytest.mark.parametrize(
    ("failure", "state"),
    [(LoginFailure.BAD_REQUEST, "login_refused"), (LoginFailure.OUTDATED, "outdated")],
)
def test_a_refused_login_stays_down(house: Installation, failure: LoginFailure, state: str) -> None:
    worker = house.paired(ALICE)
    house.emu.refuse_login(house.phones[ALICE], failure)
    house.emu.drop(house.devices[ALICE])
    worker.expect(state, ALICE)
    _settled(house, worker, state, "disconnected")


def test_a_ban_is_waited_out_even_by_another_worker(house: Installation) -> None:
    worker = house.paired(ALICE)
    house.emu.refuse_login(house.phones[ALICE], LoginFailure.TEMPORARY_BAN, expire_seconds=15)
    house.emu.drop(house.devices[ALICE])
    worker.expect("banned", ALICE)
    stats = _settled(house, worker, "banned", "disconnected")
    assert stats["retry_at"]
    assert "could prolong it" in house.cli("restart", ALICE, code=1).stderr
    house.emu.accept_login(house.phones[ALICE])
    assert worker.stop() == 0
    logins = _logins(house)
    second = house.run(ALICE)
    second.expect("banned", ALICE)
    assert _logins(house) == logins
    second.expect("connected", ALICE)


def test_whatsapp_that_never_answers_is_unreachable(house: Installation) -> None:
    house.add(ALICE)
    house.emu.silent(True)
    worker = house.run(ALICE, "--answer-timeout", "2", "--pairing-window", "15s")
    worker.expect("pairing_failed", ALICE, containing="does not answer")
    worker.expect("pairing_expired", ALICE)
    _settled(house, worker, "pairing_expired", "logged_out")
    house.emu.silent(False)
    since = worker.mark()
    house.cli("relink", ALICE)
    house.scan(worker, ALICE, since=since)
    worker.expect("connected", ALICE)
    house.emu.silent(True)
    house.emu.drop(house.devices[ALICE])
    worker.expect("unreachable", ALICE)
    house.until("SELECT 1 FROM wa_sessions.health WHERE state = 'unreachable' AND retry_at > now()")
    assert house.stats(ALICE)["status"] in ("reconnecting", "loading")
    house.emu.silent(False)
    since = worker.mark()
    worker.expect("connected", ALICE, since=since)
    worker.until_hosts(1)


def test_an_expired_qr_is_taken_away(house: Installation) -> None:
    house.add(ALICE)
    worker = house.run(ALICE, "--pairing-window", "12s")
    worker.expect("qr", ALICE)
    assert house.row(ALICE)["qrCode"]
    worker.expect("pairing_expired", ALICE)
    _settled(house, worker, "pairing_expired", "logged_out")
    assert house.row(ALICE)["qrCode"] is None


def test_a_failed_pairing_shows_a_new_qr(house: Installation) -> None:
    house.add(ALICE)
    worker = house.run(ALICE)
    worker.expect("qr", ALICE)
    house.emu.scan(house.row(ALICE)["qrCode"], house.phones[ALICE], fault="hmac")
    worker.expect("pairing_failed", ALICE)
    since = worker.mark()
    house.scan(worker, ALICE, since=since)
    worker.expect("connected", ALICE)
    worker.until_hosts(1)


def test_a_qr_scanned_by_another_number_leaves_nothing_behind(house: Installation) -> None:
    house.add(ALICE)
    mallory = house.emu.add_phone("77059999999", "Mallory")
    worker = house.run(ALICE)
    worker.expect("qr", ALICE)
    device = house.emu.scan(house.row(ALICE)["qrCode"], mallory)
    wrong = worker.expect("wrong_number", ALICE)
    assert "77059999999" in wrong["message"]
    assert "unlinked" in wrong["message"]
    assert device.removed
    house.until("SELECT 1 FROM wa_sessions.health WHERE state_detail = 'the QR was scanned by 77059999999'")
    since = worker.mark()
    worker.expect("qr", ALICE, since=since)
    row = house.row(ALICE)
    assert (row["status"], row["phoneJid"]) == ("pending", f"{ALICE}@s.whatsapp.net")
    for table in ("device", "sessions", "identity_keys", "pre_keys", "privacy_tokens", "contacts"):
        assert house.sql(f"SELECT count(*) AS n FROM whatsmeow.whatsmeow_{table}") == [{"n": 0}], table
    assert house.sql("SELECT count(*) AS n FROM whatsmeow.whatsmeow_lid_map WHERE pn = '77059999999'") == [{"n": 0}]
    house.scan(worker, ALICE, since=since)
    worker.expect("connected", ALICE)


def test_an_account_that_is_written_the_short_way_is_the_same(house: Installation) -> None:
    """Brazil's accounts of before the ninth digit have none at WhatsApp."""
    number, account = "5511987654321", "551187654321"
    house.add(number)
    owner = house.emu.add_phone(account, "Owner")
    worker = house.run(number)
    worker.expect("qr", number)
    device = house.emu.scan(house.row(number)["qrCode"], owner)
    worker.expect("connected", number)
    assert not device.removed
    assert "wrong_number" not in worker.events(number)
    [row] = house.sql("""SELECT "status", "phoneJid" FROM public."OrganizationPhone" """)
    assert (row["status"], row["phoneJid"].partition(":")[0]) == ("connected", account)
    since = worker.mark()
    house.emu.drop(device)
    worker.expect("connected", number, since=since)
    for spelling in (number, account):
        assert house.json("stats", spelling)["phone"] == account
        since = worker.mark()
        house.json("restart", spelling)
        worker.expect("connected", number, since=since)
    assert "let_go" not in worker.events(number)
    assert worker.stop() == 0
    house.run(account).expect("connected", account)


def test_dropped_connections_come_back_without_a_new_process(house: Installation, peers: ClientProcess) -> None:
    worker = house.paired(ALICE)
    hosts, device = worker.hosts(), house.devices[ALICE]
    for cut in (house.emu.drop, house.emu.unavailable, house.emu.close):
        since = worker.mark()
        cut(device)
        worker.expect("connected", ALICE, since=since)
    assert worker.hosts() == hosts
    threads = threading.active_count()
    assert threads < 50


def test_many_restarts_leave_no_process_or_thread(house: Installation) -> None:
    worker = house.paired(ALICE)
    counts = []
    for _ in range(6):
        since = worker.mark()
        house.cli("restart", ALICE)
        worker.expect("connected", ALICE, since=since)
        worker.until_hosts(1)
        counts.append(len(worker.children()))
    assert counts[-1] == counts[0]


@pytest.mark.long
def test_at_rest_sessions_hold_no_connection(house: Installation) -> None:
    """whatsmeow never closes the connections of a login that ended: the server does, after a minute."""
    worker = house.paired(ALICE)
    for _ in range(6):
        since = worker.mark()
        house.cli("restart", ALICE)
        worker.expect("connected", ALICE, since=since)
    assert _connections(house) > 10
    for attempt in Retrying(stop=stop_after_delay(90), wait=wait_fixed(1), reraise=True):
        with attempt:
            assert _connections(house) <= 7
    house.emu.phone_message(house.devices[ALICE], "after the rest")
    worker.received(ALICE, "after the rest")


def _connections(house: Installation) -> int:
    [row] = house.sql(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return int(row["n"])
