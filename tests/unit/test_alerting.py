"""Which events become alerts, and what a message says."""

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import pytest

from wa_sessions.config import Configuration
from wa_sessions.errors import UsageError
from wa_sessions.health import alerting
from wa_sessions.health.alerting import AlertCase, AlertKind
from wa_sessions.health.events.connection import LoggedOut
from wa_sessions.health.events.detail import EventDetail
from wa_sessions.health.events.every import read
from wa_sessions.health.limits import Severity
from wa_sessions.health.reconnect import State
from wa_sessions.wording import alert_texts
from wa_sessions.worker import alert_targets
from wa_sessions.worker.signing import signature

NUMBER = "77051234567"
AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def _counted(count: int, limit: int = 3) -> dict[str, Any]:
    return {"error_kind": "bad_mac", "count": count, "limit": limit}


def _read(kind: str, detail: dict[str, Any]) -> EventDetail:
    found = read(kind, detail)
    assert isinstance(found, EventDetail)
    return found


def _payload(phone: int = 1, kind: str = "logged_out", at: datetime = AT) -> dict[str, Any]:
    alert = alerting.Alert(AlertKind(kind), Severity.CRITICAL, AlertCase.STAYS_DOWN, LoggedOut("removed"))
    number = f"7705123456{phone}"
    told = alert_texts.payload(alert, at, phone_id=phone, number=number, organization_id=1, display_name="A")
    return told | {"text": "WhatsApp removed this device"}


@pytest.mark.parametrize(
    ("kind", "detail", "alert"),
    [
        ("error_counted", _counted(1), None),
        ("error_counted", _counted(2), "health_critical"),
        ("error_counted", _counted(3), None),
        ("error_counted", _counted(1, limit=1), None),
        ("session_closed", _counted(3), "session_closed"),
        ("logged_out", {"reason": "gone"}, "logged_out"),
        ("replaced", {"reason": "gone"}, "replaced"),
        ("banned", {"reason": "gone"}, "banned"),
        ("outdated", {"reason": "gone"}, "outdated"),
        ("login_refused", {"reason": "gone"}, "login_refused"),
        ("pairing_expired", {}, "pairing_expired"),
        ("unreachable", {"reason": "no answer", "down_seconds": 299}, None),
        ("unreachable", {"reason": "no answer", "down_seconds": 300}, "session_down"),
        ("crashed", {"reason": "no answer", "down_seconds": 400}, "session_down"),
        ("crashed", {"reason": "no answer"}, None),
        ("connected", {}, None),
        ("force_closed", {"reason": "maintenance"}, None),
        ("store_lost", {}, None),
    ],
)
def test_which_events_alert(kind: str, detail: dict[str, Any], alert: str | None) -> None:
    found = alerting.after_event(_read(kind, detail), NUMBER, "op-1")
    assert (found.kind if found else None) == alert
    assert found is None or found.severity is Severity.CRITICAL


def test_a_close_says_how_it_is_undone() -> None:
    found = alerting.after_event(_read("session_closed", _counted(3)), NUMBER, "op-20260115-7f3k9q")
    assert found
    told = alert_texts.payload(found, AT)
    assert (told["errorType"], told["currentCount"], told["maxAllowed"]) == ("bad_mac", 3, 3)
    assert told["text"] == (
        "session closed: Bad MAC limit reached (3 of 3); scan the new QR, or wa-sessions restore op-20260115-7f3k9q "
        "without a QR"
    )
    assert found.repeatable


def test_all_is_clear_when_connected_without_errors() -> None:
    assert alerting.is_clear(State.CONNECTED, 0, 0)
    assert not alerting.is_clear(State.CONNECTED, 1, 0)
    assert not alerting.is_clear(State.CONNECTED, 0, 1)
    assert not alerting.is_clear(State.PAIRING, 0, 0)


def test_one_alert_is_itself_and_several_are_a_group_in_order() -> None:
    one, two = _payload(1), _payload(2)
    assert alert_texts.body([one]) == one
    group = alert_texts.body([one, two, one])
    assert (group["type"], group["count"], group["severity"]) == ("group", 3, "critical")
    assert group["alerts"] == [one, two, one]
    assert group["text"].splitlines() == [
        "[critical] 3 logged out (2 phones)",
        "CRITICAL 77051234561 (A): WhatsApp removed this device (2 times)",
        "CRITICAL 77051234562 (A): WhatsApp removed this device",
    ]


def test_a_storm_stays_short_for_people() -> None:
    storm = [_payload(phone) for phone in range(1000)]
    text = alert_texts.text(storm)
    assert len(text) < 4096
    assert text.splitlines()[0] == "[critical] 1000 logged out (1000 phones)"
    assert text.splitlines()[-1] == "and 980 more"


def test_a_name_cannot_break_a_line() -> None:
    alert = alerting.Alert(
        AlertKind.LOGGED_OUT, Severity.CRITICAL, AlertCase.STAYS_DOWN, LoggedOut("gone\r\nBcc: x"), "7\r\n7"
    )
    told = alert_texts.payload(
        alert, AT, phone_id=1, number=NUMBER, organization_id=1, display_name="A\r\nTo: x\x1b[2J"
    )
    assert (told["displayName"], told["text"]) == ("A To: x [2J", "gone Bcc: x; look with wa-sessions stats 7 7")
    assert "\n" not in alert_texts.subject([told])
    assert told["timestamp"] == "2026-11-24T03:00:00.000Z"


def test_the_signature_is_of_time_and_body() -> None:
    expected = hmac.new(b"secret", b"1764000000.{}", hashlib.sha256).hexdigest()
    assert signature("secret", "1764000000", b"{}") == f"sha256={expected}"


def test_targets_come_from_the_environment_and_show_no_secret() -> None:
    environment = {
        "WA_SESSIONS_ALERT_WEBHOOK_URL": "https://hooks.example.com/T0/s3cr3t http://10.0.0.1:8080/x",
        "WA_SESSIONS_ALERT_WEBHOOK_SECRET": "s3cr3t",
        "WA_SESSIONS_ALERT_TELEGRAM_TOKEN": "123:s3cr3t",
        "WA_SESSIONS_ALERT_TELEGRAM_CHAT": "-100, 7",
        "WA_SESSIONS_ALERT_SMTP_URL": "smtp://me:s3cr3t@mail.example.com",
        "WA_SESSIONS_ALERT_EMAIL_FROM": "wa@example.com",
        "WA_SESSIONS_ALERT_EMAIL_TO": "ops@example.com",
    }
    found = alert_targets.configured(Configuration(environment))
    names = [target.name for target in found]
    assert [name.split("/")[0] for name in names] == [
        "webhook:hooks.example.com",
        "webhook:10.0.0.1",
        "telegram:-100",
        "telegram:7",
        "email:ops@example.com",
    ]
    assert "s3cr3t" not in repr(found) + "".join(names)
    assert alert_targets.configured(Configuration({})) == ()


@pytest.mark.parametrize(
    "environment",
    [
        {"WA_SESSIONS_ALERT_WEBHOOK_URL": "ftp://s3cr3t"},
        {"WA_SESSIONS_ALERT_WEBHOOK_URL": "http://[s3cr3t"},
        {"WA_SESSIONS_ALERT_TELEGRAM_TOKEN": "1:s3cr3t"},
        {"WA_SESSIONS_ALERT_TELEGRAM_TOKEN": "1:s3cr3t/..", "WA_SESSIONS_ALERT_TELEGRAM_CHAT": "1"},
        {"WA_SESSIONS_ALERT_SMTP_URL": "smtp://me:s3cr3t@mail"},
        {
            "WA_SESSIONS_ALERT_SMTP_URL": "s3cr3t",
            "WA_SESSIONS_ALERT_EMAIL_FROM": "a@b",
            "WA_SESSIONS_ALERT_EMAIL_TO": "a@b",
        },
    ],
)
def test_settings_that_make_no_sense_are_named_without_their_secret(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="WA_SESSIONS_ALERT_") as error:
        alert_targets.configured(Configuration(environment))
    assert "s3cr3t" not in str(error.value)


def test_the_interval_is_seconds() -> None:
    assert alert_targets.pace(Configuration({})) == alerting.Pace()
    half = Configuration({"WA_SESSIONS_ALERT_INTERVAL": "0.5"})
    assert alert_targets.pace(half) == alerting.Pace(gather=0.5, interval=0.5)
    with pytest.raises(UsageError, match="WA_SESSIONS_ALERT_INTERVAL"):
        alert_targets.pace(Configuration({"WA_SESSIONS_ALERT_INTERVAL": "often"}))
