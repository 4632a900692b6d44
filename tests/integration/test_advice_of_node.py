"""What ``stats`` tells an operator of a Node backend to do can be typed as it stands, and is not refused."""

import re
import shlex

import pytest
from support.corpus import BUFFERS, PAIRED, PENDING, SEVENTH
from support.fleet import Fleet

from wa_sessions.actions.operator import operator

ONLY_OURS = {"adopt", "assign", "restart", "relink", "send", "run"}
STATUSES = ("connected", "loading", "reconnecting", "disconnected", "pending", "logged_out", "open", "CONNECTED")


def _next(fleet: Fleet, number: str) -> str:
    shown = fleet("stats", number)
    assert shown.code == 0
    return re.sub(r"\n +", " ", shown.out.partition("next: ")[2]).strip()


def _commands(advice: str) -> list[list[str]]:
    return [shlex.split(words) for words in re.findall(r"wa-sessions ([^,;:)]+)", advice)]


@pytest.mark.parametrize("status", STATUSES)
def test_a_phone_of_node_is_sent_to_what_works(fleet: Fleet, status: str) -> None:
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = %s WHERE id = 1""", status)
    for record in (False, True):
        if record:
            fleet.sql("INSERT INTO wa_sessions.log_watch (phone_id, read_at) VALUES (1, now())")
        advice = _next(fleet, BUFFERS)
        found = fleet.json("stats", BUFFERS)
        if found["severity"] == "ok" and status != "reconnecting" and status != "loading":
            assert advice == ""
            continue
        [words] = _commands(advice)
        assert words[0] not in ONLY_OURS
        if words[0] != "logs":  # NAME is for the operator to fill in
            assert fleet(*[word for word in words if word != "--watch"]).code in (0, 1)


def test_a_waiting_qr_is_shown_by_the_command_that_is_named(fleet: Fleet) -> None:
    advice = _next(fleet, PENDING)
    assert advice.endswith(f"wa-sessions qr {PENDING}")
    assert fleet("qr", PENDING).code == 0
    fleet.sql("""UPDATE public."OrganizationPhone" SET "qrCode" = 'data:image/png;base64,iVBORw0KGgo' WHERE id = 13""")
    assert _next(fleet, PENDING).endswith(f"wa-sessions qr {PENDING} --watch")


def test_a_qr_is_waited_for_where_the_backend_closed_it_and_its_status_is_connected_still(fleet: Fleet) -> None:
    fleet.sql("INSERT INTO wa_sessions.log_watch (phone_id, read_at) VALUES (1, now())")
    fleet.sql("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() - interval '1 hour' WHERE id = 1""")
    fleet.sql(
        """INSERT INTO wa_sessions.event (at, phone_id, organization_id, kind, detail)
           VALUES (now(), 1, 1, 'session_closed',
                   '{"error_kind": "bad_mac", "count": 3, "limit": 3, "source": "logs"}')"""
    )
    assert _next(fleet, BUFFERS).endswith(f"a new QR is needed: wa-sessions qr {BUFFERS} --watch")
    waiting = fleet("qr", BUFFERS)
    assert (waiting.code, "nothing to scan" in waiting.err) == (1, False)
    fleet.sql("""UPDATE public."OrganizationPhone" SET "qrCode" = '2@abcdefghijklmnop' WHERE id = 1""")
    assert fleet("qr", BUFFERS).code == 0
    fleet.sql("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() WHERE id = 1""")
    assert "is connected: there is nothing to scan" in fleet("qr", BUFFERS).err


def test_keys_in_quarantine_are_named_by_their_operation(fleet: Fleet) -> None:
    done = fleet.json("force-close", BUFFERS, "--logout", "--yes", "--process-stopped")
    advice = _next(fleet, BUFFERS)
    assert f"wa-sessions restore {done['operation']}," in advice
    assert fleet.json("stats", BUFFERS)["closed_by"] == done["operation"]
    assert [one["closed_by"] for one in fleet.json("sessions")["sessions"] if one["phone"] == BUFFERS] == [
        done["operation"]
    ]
    fleet.json("restore", done["operation"])
    assert fleet.json("stats", BUFFERS)["closed_by"] is None


def test_three_of_three_is_not_one_more(fleet: Fleet) -> None:
    for phone_id, number, count in ((1, BUFFERS, 3), (3, PAIRED, 2)):
        fleet.sql("INSERT INTO wa_sessions.log_watch (phone_id, read_at) VALUES (%s, now())", phone_id)
        fleet.sql(
            """INSERT INTO wa_sessions.health (phone_id, organization_id, bad_mac_errors, bad_decrypt_errors,
                   counted_senders, messages_recovered, messages_lost, state, state_since, max_bad_mac,
                   max_bad_decrypt, version, updated_at)
               VALUES (%s, 1, %s, 0, '{}', 0, 0, 'idle', now(), 3, 5, 0, now())""",
            phone_id,
            count,
        )
        assert fleet.json("stats", number)["severity"] == "critical"
        assert fleet("check", number).code == 2
    assert "the backend should have closed it" in _next(fleet, BUFFERS)
    assert "the backend should have closed it" in fleet("check", BUFFERS).out
    assert "next error" not in fleet("check", BUFFERS).out
    assert "at one more such error" in _next(fleet, PAIRED)


def test_without_our_schema_nobody_is_sent_to_record_logs(fleet: Fleet) -> None:
    fleet.sql("DROP SCHEMA wa_sessions CASCADE")
    assert _next(fleet, BUFFERS).endswith("wa-sessions db upgrade")
    assert _next(fleet, PENDING).endswith(f"wa-sessions qr {PENDING}")
    assert fleet.json("stats", SEVENTH)["unknown_because"] == "no_schema"


def test_why_a_phone_is_unknown_is_told_by_all_three(fleet: Fleet) -> None:
    doubt = "412 lines have the library's words behind a prefix that is not known"
    fleet.sql("INSERT INTO wa_sessions.log_watch (phone_id, read_at, doubt) VALUES (1, now(), %s)", doubt)
    fleet.sql("INSERT INTO wa_sessions.log_watch (phone_id, read_at) VALUES (3, now() - interval '18 min')")
    for number, reason in ((BUFFERS, doubt), (PAIRED, "nobody has read the logs for 18 min")):
        told = " ".join(fleet("stats", number).out.split())
        checked = fleet("check", number)
        assert reason in told
        assert (checked.code, reason in checked.out) == (3, True)
        listed = {one["phone"]: one for one in fleet.json("sessions")["sessions"]}
        assert (listed[number]["severity"], listed[number]["unknown_reason"]) == ("unknown", reason)
        assert reason in " ".join(fleet("sessions").out.split())


def test_a_close_that_its_own_log_tells_of_is_told_and_its_qr_is_counted(fleet: Fleet) -> None:
    fleet.sql("INSERT INTO wa_sessions.log_watch (phone_id, read_at) VALUES (1, now())")
    fleet.sql(
        """INSERT INTO wa_sessions.health (phone_id, organization_id, bad_mac_errors, bad_decrypt_errors,
               counted_senders, last_error_at, messages_recovered, messages_lost, state, state_since, max_bad_mac,
               max_bad_decrypt, version, updated_at)
           VALUES (1, 1, 3, 0, '{}', now() - interval '1 min', 0, 0, 'idle', now(), 3, 5, 0, now())"""
    )
    fleet.sql(
        """INSERT INTO wa_sessions.event (at, phone_id, organization_id, kind, detail)
           VALUES (now() - interval '1 min', 1, 1, 'session_closed',
                   '{"error_kind": "bad_mac", "count": 3, "limit": 3, "source": "logs"}'),
                  (now() - interval '2 days', 1, 1, 'backend_closed', '{"reason": "by hand", "source": "logs"}')"""
    )
    assert _next(fleet, BUFFERS) == (
        "Bad MAC 3 of 3: the backend closed it, as its log says, and a new QR is needed: "
        f"wa-sessions qr {BUFFERS} --watch"
    )
    assert "the backend closed it, as its log says" in fleet("check", BUFFERS).out
    [one] = fleet.json("report", BUFFERS, "--since", "24h")["phones"]
    assert (one["closes"]["bad_mac"], one["pairings"]["needed"]) == (1, 1)
    assert fleet.json("report", BUFFERS, "--since", "7d")["total"]["pairings"]["needed"] == 2
    fleet.sql("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() WHERE id = 1""")
    assert fleet.json("stats", BUFFERS)["closed_in_logs_at"] is None


def test_a_close_is_no_health_though_the_backend_then_reset_its_counters(fleet: Fleet) -> None:
    """It resets them as it closes, and ``connected`` stands until something writes another status."""
    fleet.sql("INSERT INTO wa_sessions.log_watch (phone_id, read_at) VALUES (1, now())")
    fleet.sql(
        """INSERT INTO wa_sessions.event (at, phone_id, organization_id, kind, detail) VALUES
           (now() - interval '60 s', 1, 1, 'error_counted',
            '{"error_kind": "bad_mac", "count": 3, "limit": 3, "source": "logs"}'),
           (now() - interval '60 s', 1, 1, 'session_closed',
            '{"error_kind": "bad_mac", "count": 3, "limit": 3, "source": "logs"}'),
           (now() - interval '59 s', 1, 1, 'counter_reset', '{"error_kind": "bad_mac", "source": "logs"}')"""
    )
    found = fleet.json("stats", BUFFERS)
    assert (found["severity"], found["is_healthy"], found["bad_mac_errors"]) == ("critical", False, 0)
    assert found["closed_in_logs_at"]
    assert _next(fleet, BUFFERS) == (
        "the backend closed it, as its log says, and has not connected it since; a new QR is needed: "
        f"wa-sessions qr {BUFFERS} --watch"
    )
    checked = fleet("check", BUFFERS)
    assert (checked.code, "the backend closed it, as its log says" in checked.out) == (2, True)
    [listed] = [one for one in fleet.json("sessions", "--unhealthy")["sessions"] if one["phone"] == BUFFERS]
    assert listed["severity"] == "critical"
    fleet.sql("UPDATE wa_sessions.log_watch SET doubt = 'nothing was logged for 18 min'")
    assert fleet("check", BUFFERS).code == 2
    fleet.sql("UPDATE wa_sessions.log_watch SET doubt = NULL")
    fleet.sql(
        """INSERT INTO wa_sessions.event (at, phone_id, organization_id, kind, detail)
           VALUES (now() - interval '9 s', 1, 1, 'error_counted',
                   '{"error_kind": "bad_mac", "count": 1, "limit": 3, "source": "logs"}')"""
    )
    assert fleet.json("stats", BUFFERS)["closed_in_logs_at"] is None, "what meets errors is connected"


def test_counters_are_not_known_where_the_logs_do_not_tell(fleet: Fleet) -> None:
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = 'disconnected' WHERE id = 1""")
    fleet.sql("INSERT INTO wa_sessions.log_watch (phone_id, read_at, doubt) VALUES (1, now(), 'nothing was logged')")
    [row] = [line for line in fleet("sessions").out.splitlines() if line.startswith(BUFFERS)]
    assert "0/3" not in row
    assert "Bad MAC      \u2013 of 3" in fleet("stats", BUFFERS).out
    fleet.sql("UPDATE wa_sessions.log_watch SET doubt = NULL")
    [row] = [line for line in fleet("sessions").out.splitlines() if line.startswith(BUFFERS)]
    assert "0/3" in row


def test_a_group_is_sent_to_what_makes_it_known(fleet: Fleet) -> None:
    """What is down is not observed either, and its own advice, to look into the log, changes nothing for the rest."""
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = 'disconnected' WHERE id = 1""")
    shown = " ".join(fleet("sessions").out.split())
    assert re.search(r"its logs are not read: wa-sessions logs --pm2 NAME --record", shown)
    fleet.sql("DROP SCHEMA wa_sessions CASCADE")
    shown = " ".join(fleet("sessions").out.split())
    assert shown.endswith("nobody observes it: run wa-sessions db upgrade")


def test_what_only_a_worker_does_is_refused_with_what_helps(fleet: Fleet) -> None:
    for command in ("restart", "relink"):
        refused = fleet(command, BUFFERS)
        assert (refused.code, "restart that to connect it again" in refused.err) == (5, True)
    given = fleet("return", BUFFERS, "--dry-run")
    assert (given.code, "version None" in given.err) == (5, False)


def test_a_status_that_is_not_known_is_not_said_to_be_unconnected(fleet: Fleet) -> None:
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = 'open' WHERE id = 1""")
    fleet.sql("INSERT INTO wa_sessions.log_watch (phone_id, read_at) VALUES (1, now())")
    assert "its status is none that is known (open)" in fleet("stats", BUFFERS).out
    assert "its status is none that is known (open)" in fleet("check", BUFFERS).out


@pytest.mark.parametrize("read", [False, True])
def test_a_close_on_purpose_is_told_with_whose_it_was(fleet: Fleet, read: bool) -> None:
    if read:
        fleet.sql("INSERT INTO wa_sessions.log_watch (phone_id, read_at) VALUES (1, now())")
    fleet.json("force-close", BUFFERS, "--yes", "--process-stopped", "--reason", "new\x1b[2J server")
    found = fleet.json("stats", BUFFERS)
    assert found["force_closed_by"] == operator()
    assert found["force_closed_at"]
    shown = fleet("stats", BUFFERS).out
    assert re.search(
        rf"^  closed +by {re.escape(operator())}, (just now|\d+ s ago) \(new\ufffd\[2J server\)$", shown, re.MULTILINE
    )
    assert "when last seen" not in shown
    advice = _next(fleet, BUFFERS)
    assert f"{operator()} closed it on purpose" in advice
    assert "start the Node backend again" in advice
    assert fleet(*shlex.split(advice.partition("wa-sessions ")[2])).code == 0
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = 'connected', "lastConnectedAt" = now() WHERE id = 1""")
    assert fleet.json("stats", BUFFERS)["force_closed_at"] is None


def test_a_phone_that_the_backend_gave_up_is_nobodys_close(fleet: Fleet) -> None:
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = 'disconnected' WHERE id = 1""")
    assert fleet.json("stats", BUFFERS)["force_closed_by"] is None
    assert "the Node backend has not connected it" in _next(fleet, BUFFERS)
