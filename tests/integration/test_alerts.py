"""The outbox of alerts: real receivers that are down, slow, broken, and several senders at once."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support import receivers
from support.receivers import Receiver, Request
from support.waiting import PATIENCE

from wa_sessions import cli
from wa_sessions.db import alerts, phones
from wa_sessions.db.backend import detect
from wa_sessions.db.gateway import Database
from wa_sessions.db.phones import Phone
from wa_sessions.health.alerting import Alert, AlertCase, AlertKind, Pace
from wa_sessions.health.events.connection import LoggedOut
from wa_sessions.health.events.keys import SessionClosed
from wa_sessions.health.limits import ErrorKind, Severity
from wa_sessions.worker.alert_targets import Email, Telegram, Webhook
from wa_sessions.worker.alerting import LOOK_EVERY, REFUSALS, Senders, send_next

PACE = Pace(gather=0, interval=0, first_retry=0.02, longest_retry=0.05)
AT_LIMIT = SessionClosed(ErrorKind.BAD_MAC, 3, 3)
CLOSED = Alert(AlertKind.SESSION_CLOSED, Severity.CRITICAL, AlertCase.CLOSED, AT_LIMIT, operation="op-1")
LOGGED_OUT = Alert(AlertKind.LOGGED_OUT, Severity.CRITICAL, AlertCase.STAYS_DOWN, LoggedOut("removed this device"))


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receivers.http() as receiver:
        yield receiver


@pytest.fixture
def two(database: Database) -> tuple[Phone, Phone]:
    with database.transaction() as conn:
        backend = detect(conn)
        first, second = (phones.add(conn, backend, f"7705123456{n}", 1, "Reception") for n in (1, 2))
        return first, second


def _leave(database: Database, phone: Phone, *texts: str) -> None:
    for text in texts:
        with database.transaction() as conn:
            assert alerts.leave(conn, phone, _closed(text))


def _closed(reason: str) -> Alert:
    """An alert that is told by its reason."""
    return replace(CLOSED, about=SessionClosed(None, None, None, reason), operation=None)


def _texts(requests: list[Request], phone: Phone) -> list[str]:
    texts = [alert["text"] for request in requests for alert in request.alerts if alert["phoneId"] == phone.id]
    return [text.removeprefix("session closed: ").removesuffix("; scan the new QR") for text in texts]


def _name(receiver: Receiver) -> str:
    return Webhook(f"{receiver.url}/s3cr3t").name


def _drain(database: Database, target: Webhook | Telegram | Email, timeout: float = PATIENCE) -> None:
    """Send until nothing waits."""
    deadline = time.monotonic() + timeout
    while True:
        while send_next(database, target, PACE):
            pass
        with database.transaction() as conn:
            if not sum(state.waiting for state in alerts.targets(conn)):
                return
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---------------------------------------------------------------------------------------------- what is left


def test_the_same_trouble_is_told_once_until_it_ends(database: Database, two: tuple[Phone, Phone]) -> None:
    phone, other = two
    with database.transaction() as conn:
        assert not alerts.clear(conn, phone)
        told = [alerts.leave(conn, phone, alert) for alert in (LOGGED_OUT, LOGGED_OUT, CLOSED, CLOSED)]
        assert told == [True, False, True, True]
        assert not alerts.clear(conn, other)
        assert alerts.clear(conn, phone)
        assert not alerts.clear(conn, phone)
        assert alerts.leave(conn, phone, LOGGED_OUT)
        kinds = [alert.kind for alert in alerts.newest(conn)]
    assert kinds == ["logged_out", "all_clear", "session_closed", "session_closed", "logged_out"]


def test_an_alert_is_rolled_back_with_what_it_tells_of(database: Database, two: tuple[Phone, Phone]) -> None:
    with database.transaction() as conn:
        alerts.leave(conn, two[0], CLOSED)
        conn.rollback()
        assert alerts.newest(conn) == []


# ------------------------------------------------------------------------------------------------- delivery


@pytest.mark.parametrize(
    ("down", "slow", "pace"),
    [
        (0.3, 0.2, PACE),
        pytest.param(20, 5, Pace(gather=0.5, interval=1, first_retry=1, longest_retry=5), marks=pytest.mark.long),
    ],
)
def test_down_then_slow_then_broken_twice(
    database: Database, two: tuple[Phone, Phone], down: float, slow: float, pace: Pace
) -> None:
    with receivers.http() as place:
        port = place.port
    target = Webhook(f"http://127.0.0.1:{port}/alerts", "secret")
    senders = Senders(database, [target], pace)
    first, second = two
    _leave(database, first, "a", "b")
    senders.start()
    time.sleep(down)
    _leave(database, second, "c")
    with receivers.http(port) as hook:
        hook.answers[:] = [(slow, 200), (0.0, 500), (0.0, 500)]
        hook.wait_for(2, timeout=PATIENCE)
        _leave(database, first, "d")
        hook.wait_for(3, timeout=PATIENCE)
        _leave(database, first, "e")
        hook.wait_for(5, timeout=PATIENCE)
    senders.stop()
    assert _texts(hook.taken(), first) == ["a", "b", "d", "e"]
    assert _texts(hook.taken(), second) == ["c"]
    keys = [request.key for request in hook.taken()]
    assert len(keys) == len(set(keys))
    broken = [request.key for request in hook.requests.since() if request.status == 500]
    assert len(broken) == 2
    assert set(broken) <= set(keys)
    for request in hook.taken():
        at = request.headers["x-wa-sessions-timestamp"]
        signed = hmac.new(b"secret", f"{at}.".encode() + request.content, hashlib.sha256).hexdigest()
        assert request.headers["x-wa-sessions-signature"] == f"sha256={signed}"


def test_a_storm_is_one_message(database: Database, two: tuple[Phone, Phone], hook: Receiver) -> None:
    target = Webhook(hook.url)
    _leave(database, two[0], *map(str, range(50)))
    assert send_next(database, target, replace(PACE, gather=60)) is None
    attempt = send_next(database, target, replace(PACE, interval=60))
    assert attempt
    assert (attempt.alerts, attempt.error) == (50, None)
    _leave(database, two[1], "later")
    assert send_next(database, target, PACE) is None
    (request,) = hook.taken()
    assert request.json["count"] == 50
    assert _texts([request], two[0]) == list(map(str, range(50)))


def test_one_alert_has_the_names_of_the_seed(database: Database, two: tuple[Phone, Phone], hook: Receiver) -> None:
    with database.transaction() as conn:
        assert alerts.leave(conn, two[0], CLOSED)
    assert send_next(database, Webhook(hook.url), PACE)
    told = hook.taken()[0].json
    assert told.pop("timestamp").endswith("Z")
    assert told.pop("id") > 0
    assert told == {
        "type": "session_closed",
        "phoneId": two[0].id,
        "phone": two[0].number,
        "organizationId": 1,
        "displayName": "Reception",
        "errorType": "bad_mac",
        "currentCount": 3,
        "maxAllowed": 3,
        "severity": "critical",
        "operation": "op-1",
        "text": (
            "session closed: Bad MAC limit reached (3 of 3); scan the new QR, or wa-sessions restore op-1 without a QR"
        ),
    }


def test_a_dead_target_does_not_hold_another(database: Database, two: tuple[Phone, Phone], hook: Receiver) -> None:
    with receivers.http() as dead:
        dead.hang = threading.Event()
        senders = Senders(database, [Webhook(dead.url), Webhook(hook.url)], PACE)
        senders.start()
        _leave(database, two[0], "a")
        assert dead.coming.wait(PATIENCE)
        _leave(database, two[0], "b")
        hook.wait_for(2, timeout=LOOK_EVERY + 5)
        assert dead.taken() == []
        began = time.monotonic()
        senders.stop()
        assert time.monotonic() - began < 20
        dead.hang.set()


def test_many_senders_send_nothing_twice(database: Database, two: tuple[Phone, Phone], hook: Receiver) -> None:
    target = Webhook(hook.url)
    hook.answers[:] = [(0.02, 500 if n % 3 == 0 else 200) for n in range(30)]
    workers = [threading.Thread(target=_drain, args=(database, target)) for _ in range(4)]
    for n in range(10):
        _leave(database, two[n % 2], str(n))
    for worker in workers:
        worker.start()
    for n in range(10, 20):
        _leave(database, two[n % 2], str(n))
    for worker in workers:
        worker.join(PATIENCE)
    _drain(database, target)
    assert _texts(hook.taken(), two[0]) == [str(n) for n in range(0, 20, 2)]
    assert _texts(hook.taken(), two[1]) == [str(n) for n in range(1, 20, 2)]


def test_what_a_killed_sender_had_is_sent_under_the_same_key(
    database: Database, two: tuple[Phone, Phone], hook: Receiver
) -> None:
    target = Webhook(hook.url)
    _leave(database, two[0], "a")
    with database.transaction() as conn:
        lost = alerts.claim(conn, target.name, 0)
    assert lost
    _leave(database, two[0], "b")
    assert send_next(database, target, PACE) is None
    with database.transaction() as conn:
        conn.execute("UPDATE wa_sessions.alert_target SET claimed_until = now()")
    _drain(database, target)
    first, second = hook.taken()
    assert (first.key, _texts([first], two[0]), _texts([second], two[0])) == (lost.key, ["a"], ["b"])


def test_what_is_refused_for_good_does_not_hold_the_rest(
    database: Database, two: tuple[Phone, Phone], hook: Receiver
) -> None:
    target = Webhook(hook.url)
    hook.answers[:] = [(0, 400)] * REFUSALS
    _leave(database, two[0], "bad")
    assert send_next(database, target, PACE)
    _leave(database, two[0], "good")
    _drain(database, target)
    assert _texts(hook.taken(), two[0]) == ["good"]
    with database.transaction() as conn:
        good, bad = alerts.newest(conn)
    assert bad.deliveries[0].given_up_at
    assert bad.deliveries[0].error == "HTTP 400"
    assert good.deliveries[0].sent_at


def test_a_target_says_when_to_come_again_and_old_alerts_go(
    database: Database, two: tuple[Phone, Phone], hook: Receiver
) -> None:
    _leave(database, two[0], "a", "b")
    with database.transaction() as conn:
        conn.execute(
            "UPDATE wa_sessions.alert SET at = now() - interval '2 hours' WHERE payload ->> 'text' LIKE '%: a;%'"
        )
    _drain(database, Webhook(hook.url))
    assert _texts(hook.taken(), two[0]) == ["b"]  # a target that is new is not told of what is long over
    with database.transaction() as conn:
        assert alerts.forget_old(conn) == 0
        assert alerts.forget_old(conn, age=0) == 2
        assert conn.execute("SELECT count(*) AS n FROM wa_sessions.alert_message").fetchone() == {"n": 0}


def test_mail_and_bot(database: Database, two: tuple[Phone, Phone], hook: Receiver) -> None:
    _leave(database, two[0], "first", "second")
    _drain(database, Telegram("123:token", "-100", hook.url))
    (request,) = hook.taken()
    assert request.path == "/bot123:token/sendMessage"
    assert request.json["chat_id"] == "-100"
    assert "(2 times)" in request.json["text"]
    with receivers.smtp(refusals=2) as (port, mails):
        target = Email("127.0.0.1", port, "wa@example.com", ("ops@example.com",))
        attempt = send_next(database, target, PACE)
        assert attempt
        assert attempt.error == "SMTP 451"
        _drain(database, target)
        (mail,) = mails.since()
    assert "Subject: wa-sessions: [critical] 2 session closed (1 phone)" in mail
    assert "Message-ID: <" in mail


# --------------------------------------------------------------------------------------------- the commands


def test_the_commands(
    database: Database,
    database_url: str,
    two: tuple[Phone, Phone],
    hook: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.execute(["alerts", *arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    url = ("--database-url", database_url)
    assert run("send", *url)[0] == 2
    assert run("test")[0] == 2
    assert run("list", *url)[1].startswith("no alerts\nno target is configured here")
    monkeypatch.setenv("WA_SESSIONS_ALERT_WEBHOOK_URL", f"{hook.url}/s3cr3t")
    _leave(database, two[0], "one")
    code, out, _ = run("list", *url)
    assert (code, out.splitlines()[1].split()[-8:-4]) == (0, ["0", "session", "closed:", "one;"])
    hook.answers[:] = [(0, 200), (0, 503)]
    assert run("test")[1].startswith("a test was sent to webhook:127.0.0.1/")
    assert hook.taken()[0].json["type"] == "test"
    code, out, err = run("send", *url, "--json")
    assert (code, json.loads(out)["waiting"], json.loads(out)["sent"]) == (1, 1, 0)
    assert "HTTP 503" in err
    assert "s3cr3t" not in out + err
    with database.transaction() as conn:
        conn.execute("UPDATE wa_sessions.alert_target SET next_at = now() + interval '1 hour'")
    assert run("send", *url)[1] == f"1 alert for {_name(hook)} waiting: HTTP 503, 1 attempt\n"
    with database.transaction() as conn:
        conn.execute("UPDATE wa_sessions.alert_target SET next_at = now()")
    assert run("send", *url)[:2] == (0, f"1 alert sent to {_name(hook)}\n")
    assert run("send", *url)[:2] == (0, "nothing to send\n")
    code, out, _ = run("list", two[0].number, *url, "--json")
    listed = json.loads(out)
    assert [alert["type"] for alert in listed["alerts"]] == ["session_closed"]
    assert listed["alerts"][0]["deliveries"][0]["attempts"] == 2
    assert listed["targets"][0]["configured"] is True
    assert run("list", *url, "--org", "2", "-o", "tsv")[1].count("\n") == 1
