"""``logs --record``: a Node backend's logs feed the counters, each line once, however a log is cut and read on."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import backend_logs, corpus
from support.fleet import Fleet

PEER = "77019990053"
PHONES = {corpus.BUFFERS: 1, corpus.PAIRED: 3, corpus.SEVENTH: 7, corpus.SEVENTH_PAIRED: 10}
TIMES = re.compile(rb"^2026-11-[0-9T:-]+", re.MULTILINE)


class Logs:
    """Both logs of a backend, written by and by."""

    def __init__(self, folder: Path) -> None:
        self.names = {stream: str(folder / f"messenger-{stream}.log") for stream in ("error", "out")}
        for name in self.names.values():
            Path(name).touch()

    def write(self, stream: str, content: bytes) -> None:
        with Path(self.names[stream]).open("ab") as file:
            file.write(content)

    def record(self, fleet: Fleet, *arguments: str) -> dict[str, Any]:
        return fleet.json("logs", *self.names.values(), "--record", *arguments)


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def _counters(fleet: Fleet) -> dict[str, tuple[int, int]]:
    """Bad MAC and Bad Decrypt of each phone of the corpus whose backend's logs there are."""
    rows = {row["phone_id"]: row for row in fleet.sql("SELECT * FROM wa_sessions.health")}
    return {
        number: (rows[id_]["bad_mac_errors"], rows[id_]["bad_decrypt_errors"]) if id_ in rows else (0, 0)
        for number, id_ in PHONES.items()
    }


def _history(fleet: Fleet) -> list[dict[str, Any]]:
    return fleet.sql(
        "SELECT phone_id, kind, detail, at FROM wa_sessions.event ORDER BY phone_id, at, kind, detail::text"
    )


def _at(stream: str, moment: str) -> int:
    """Where in a log the lines from a moment on begin."""
    content = backend_logs.content(stream)
    later = (match.start() for match in TIMES.finditer(content) if match[0].decode() >= moment)
    return next(later, len(content))


def _pino(at: int, message: str, number: str = PEER) -> bytes:
    why = "Bad MAC"
    stack = f"Error: {why}\n    at async {number}.0 [as awaitable] (/srv/x.js:1:1)"
    key = {"remoteJid": f"{number}@s.whatsapp.net", "fromMe": False, "id": message}
    err = {"type": "Error", "message": why, "stack": stack}
    entry = {"level": 50, "time": at, "pid": 1, "key": key, "err": err, "msg": "failed to decrypt message"}
    return json.dumps(entry).encode() + b"\n"


def test_the_counters_are_what_the_backend_says(fleet: Fleet, logs: Logs) -> None:
    for stream in logs.names:
        logs.write(stream, backend_logs.content(stream))
    told = logs.record(fleet)
    recorded = told["recorded"]
    assert told["library"] == backend_logs.LIBRARY
    truth = {number: backend_logs.TRUTH["phones"][number] for number in PHONES}
    assert _counters(fleet) == {
        number: (phone["bad_mac"]["last_n"], phone["bad_decrypt"]["last_n"]) for number, phone in truth.items()
    }
    lines = sum(phone[kind]["lines"] for phone in truth.values() for kind in ("bad_mac", "bad_decrypt"))
    assert recorded["entries"]["error_counted"] == lines
    closes = sum(count for phone in truth.values() for count in phone["closes"].values())
    assert recorded["entries"]["session_closed"] + recorded["entries"]["backend_closed"] == closes
    assert recorded["phones"] == 6
    assert fleet.json("alerts", "list")["alerts"] == []
    before = _history(fleet)
    again = logs.record(fleet)["recorded"]
    assert (again["phones"], again["entries"], again["lost"], again["not_in_database"]) == (6, {}, [], [])
    assert _history(fleet) == before


@pytest.mark.parametrize("moments", [["2026-11-20T20:27:49", "2026-11-21"], ["2026-11-20T21:32:4", "2026-11-20T21:33"]])
def test_read_in_pieces_they_are_the_same(fleet: Fleet, logs: Logs, moments: list[str]) -> None:
    begins = dict.fromkeys(logs.names, 0)
    for number, moment in enumerate([*moments, "never"]):
        for stream in logs.names:
            end = _at(stream, moment)
            logs.write(stream, backend_logs.content(stream)[begins[stream] : end + 17 * (number == 0)])
            begins[stream] = end + 17 * (number == 0)
        logs.record(fleet)
    pieces, history = _counters(fleet), _history(fleet)
    fleet.sql("TRUNCATE wa_sessions.health, wa_sessions.event, wa_sessions.log_file, wa_sessions.log_watch")
    fleet.sql("TRUNCATE wa_sessions.log_failure")
    logs.record(fleet)
    assert (pieces, history) == (_counters(fleet), _history(fleet))


def test_without_counter_lines_a_retried_copy_that_fails_counts(fleet: Fleet, logs: Logs) -> None:
    """As newer backends log: the phone is the one that holds the sender's session."""
    fleet.sql(
        'INSERT INTO public.baileys_auth ("organizationId", "phoneJid", "key", "value", "type")'
        " VALUES (1, %s, %s, '{}', 'base64_json')",
        *(corpus.BUFFERS, f"session-{PEER}.0"),
    )
    fleet.sql("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() - interval '1 hour'""")
    now = int(fleet.sql("SELECT extract(epoch FROM now()) * 1000 AS ms")[0]["ms"])
    logs.write("out", _pino(now - 7_200_000, "OLD") + _pino(now - 7_100_000, "OLD"))
    logs.write("out", _pino(now - 60_000, "A"))
    assert logs.record(fleet)["recorded"]["entries"] == {}
    logs.write("out", _pino(now - 50_000, "A") + _pino(now - 45_000, "A") + _pino(now - 40_000, "B"))
    assert logs.record(fleet)["recorded"]["entries"] == {"error_counted": 1}
    stats = fleet.json("stats", corpus.BUFFERS)
    assert (stats["bad_mac_errors"], stats["severity"], stats["observed"]) == (1, "warning", True)
    logs.write("out", _pino(now - 30_000, "B"))
    logs.record(fleet)
    assert fleet("check", corpus.BUFFERS).out.startswith(
        f"WA-SESSIONS CRITICAL - {corpus.BUFFERS}: Bad MAC 2 of 3, Bad Decrypt 0 of 5: the next error closes it | "
    )
    assert [alert["type"] for alert in fleet.json("alerts", "list")["alerts"]] == ["health_critical"]
    fleet.sql("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() WHERE id = 1""")
    assert logs.record(fleet)["recorded"]["entries"] == {"counter_reset": 1}
    assert fleet.json("stats", corpus.BUFFERS)["severity"] == "ok"
    assert [alert["type"] for alert in fleet.json("alerts", "list")["alerts"]] == ["all_clear", "health_critical"]


@pytest.mark.parametrize("timed", [True, False])
def test_two_halves_in_two_logs_are_joined_whenever_they_come(fleet: Fleet, logs: Logs, *, timed: bool) -> None:
    """The reason stands in one log, the message's id in the other; each may be read without the other.

    pm2 writes no times unless it is told to, and then only Baileys' half has one.
    """
    fleet.sql(
        'INSERT INTO public.baileys_auth ("organizationId", "phoneJid", "key", "value", "type")'
        " VALUES (1, %s, %s, '{}', 'base64_json')",
        *(corpus.BUFFERS, f"session-{PEER}.0"),
    )
    fleet.sql("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() - interval '1 hour'""")
    for _ in range(2):
        moment, now = fleet.sql(
            "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS') AS text,"
            " (extract(epoch FROM now()) * 1000)::bigint AS ms"
        )[0].values()
        undetermined = _pino(now, "A").replace(b"Bad MAC", b"No matching sessions found for message")
        prefix = f"{moment}: " if timed else ""
        logs.write("out", prefix.encode() + undetermined)
        logs.record(fleet)
        console = [
            "Failed to decrypt message with any known session...",
            "Session error:Error: Bad MAC Error: Bad MAC",
            f"    at async {PEER}.0 [as awaitable] (/srv/x.js:1:1)",
        ]
        logs.write("error", "".join(f"{prefix}{line}\n" for line in console).encode())
        logs.record(fleet)
    fleet.sql("UPDATE wa_sessions.log_file SET waiting = replace(waiting::text, %s, %s)::jsonb", *_ten_seconds_ago(now))
    logs.record(fleet)
    assert _counters(fleet)[corpus.BUFFERS] == (1, 0)


def _ten_seconds_ago(now: int) -> tuple[str, str]:
    """The first digits of the times, so that what waits is settled without waiting for it."""
    return str(now)[:8], str(now - 100_000)[:8]


@pytest.mark.parametrize(
    ("status", "code", "line"),
    [
        ("connected", 0, "OK - {}: connected, Bad MAC 0 of 3, Bad Decrypt 0 of 5"),
        ("reconnecting", 0, "OK - {}: reconnecting, Bad MAC 0 of 3, Bad Decrypt 0 of 5"),
        ("disconnected", 3, "UNKNOWN - {}: not connected (disconnected)"),
        ("logged_out", 2, "CRITICAL - {}: logged out"),
    ],
)
def test_a_node_phone_whose_logs_are_read_is_observed(
    fleet: Fleet, logs: Logs, status: str, code: int, line: str
) -> None:
    now = fleet.sql("SELECT (extract(epoch FROM now()) * 1000)::bigint AS ms")[0]["ms"]
    logs.write("out", f'{{"level":30,"time":{now},"pid":1,"msg":"synced regular to v5"}}\n'.encode())
    logs.record(fleet, "--org", "1")
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = %s WHERE id = 1""", status)
    found = fleet("check", corpus.BUFFERS)
    assert (found.code, found.out.partition(" | ")[0]) == (code, f"WA-SESSIONS {line.format(corpus.BUFFERS)}")
    assert fleet.json("stats", corpus.SEVENTH)["unknown_because"] == "baileys"
    fleet.sql("UPDATE wa_sessions.log_watch SET read_at = read_at - interval '10 minutes'")
    found = fleet("check", corpus.BUFFERS)
    assert found.code == (2 if status == "logged_out" else 3)
    unread = "nobody has read the logs for 10 min"
    assert (unread in found.out) is (status != "logged_out")
    assert unread in fleet("stats", corpus.BUFFERS).out
    assert fleet.json("stats", corpus.BUFFERS)["severity"] == "unknown"
    fleet.sql("UPDATE wa_sessions.log_watch SET read_at = read_at - interval '10 minutes'")
    assert fleet.json("stats", corpus.BUFFERS)["unknown_because"] == "baileys"


def _holding(fleet: Fleet, *, organizations: tuple[int, ...] = (1,)) -> int:
    """A phone that holds the sender's session and has been connected for an hour; the time now, in ms."""
    numbers = {1: corpus.BUFFERS, 2: corpus.SEVENTH}
    for organization in organizations:
        fleet.sql(
            'INSERT INTO public.baileys_auth ("organizationId", "phoneJid", "key", "value", "type")'
            " VALUES (%s, %s, %s, '{}', 'base64_json')",
            *(organization, numbers[organization], f"session-{PEER}.0"),
        )
    fleet.sql("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() - interval '1 hour'""")
    return int(fleet.sql("SELECT extract(epoch FROM now()) * 1000 AS ms")[0]["ms"])


def _counter(number: int, phone: str = corpus.BUFFERS, at: str = "") -> bytes:
    return f"{at}⚠️ Bad MAC error #{number} для {phone}@s.whatsapp.net\n".encode()


def test_after_an_upgrade_the_library_counts(fleet: Fleet, logs: Logs) -> None:
    """The old backend wrote counter lines, the new one does not."""
    now = _holding(fleet)
    logs.write("out", _counter(1, at="2026-09-20T10:00:00Z: "))
    for number in range(2):
        logs.write("out", _pino(now - 60_000 + number, f"M{number}") + _pino(now - 50_000 + number, f"M{number}"))
    logs.record(fleet)
    assert _counters(fleet)[corpus.BUFFERS] == (2, 0)
    fleet.sql("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now()""")
    logs.record(fleet)
    assert _counters(fleet)[corpus.BUFFERS] == (0, 0)


def test_a_connection_between_two_copies_does_not_hide_the_second(fleet: Fleet, logs: Logs) -> None:
    now = _holding(fleet)
    logs.write("out", _pino(now - 7_200_000, "A") + _pino(now - 60_000, "A"))
    logs.record(fleet)
    assert _counters(fleet)[corpus.BUFFERS] == (1, 0)


def test_in_an_organization_a_sender_of_two_is_of_its_phone(fleet: Fleet, logs: Logs) -> None:
    now = _holding(fleet, organizations=(1, 2))
    logs.write("out", _pino(now - 60_000, "A") + _pino(now - 50_000, "A"))
    logs.record(fleet, "--org", "1")
    assert _counters(fleet)[corpus.BUFFERS] == (1, 0)


def test_old_lines_without_times_are_no_news(fleet: Fleet, logs: Logs) -> None:
    close = f"🚪 Закрытие сессии для {corpus.BUFFERS}@s.whatsapp.net. Причина: Слишком много ошибок Bad MAC\n"
    logs.write(
        "out", _counter(3) + close.encode() + "🔄 Счетчики ошибок сброшены для organizationPhoneId: 1\n".encode()
    )
    logs.record(fleet)
    assert fleet.json("alerts", "list")["alerts"] == []
    logs.write(
        "out", _counter(3) + close.encode() + "🔄 Счетчики ошибок сброшены для organizationPhoneId: 1\n".encode()
    )
    logs.record(fleet)
    assert [alert["type"] for alert in fleet.json("alerts", "list")["alerts"]] == ["session_closed"]
    kinds = [entry["kind"] for entry in fleet.json("timeline", corpus.BUFFERS)["entries"]]
    assert kinds[-3:] == ["error_counted", "session_closed", "counter_reset"]


def test_what_stands_critical_is_told_however_old_its_lines_are(fleet: Fleet, logs: Logs) -> None:
    logs.write("out", _counter(2, at="2026-11-20T10:00:00Z: "))
    logs.record(fleet)
    logs.record(fleet)
    assert [alert["type"] for alert in fleet.json("alerts", "list")["alerts"]] == ["health_critical"]
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = 'logged_out', "updatedAt" = now() WHERE id = 1""")
    logs.record(fleet)
    assert [alert["type"] for alert in fleet.json("alerts", "list")["alerts"]] == ["logged_out", "health_critical"]


def test_a_log_that_says_nothing_is_read_and_makes_nobody_healthy(fleet: Fleet, logs: Logs) -> None:
    assert logs.record(fleet)["recorded"]["phones"] == 6
    assert fleet.json("stats", corpus.BUFFERS)["unknown_because"] == "logs"
    logs.write("out", b"hello\n")
    assert logs.record(fleet)["recorded"]["phones"] == 6
    Path(logs.names["out"]).unlink()
    assert logs.record(fleet)["recorded"]["phones"] == 6
    assert fleet.json("stats", corpus.BUFFERS)["unknown_because"] == "logs"


def test_the_last_error_is_the_last_by_time(fleet: Fleet, logs: Logs) -> None:
    decrypt = _counter(1, at="2026-11-20T10:00:00Z: ").replace(b"Bad MAC", b"Bad Decrypt")
    logs.write("out", decrypt + _counter(1, at="2026-11-20T11:00:00Z: "))
    logs.record(fleet)
    stats = fleet.json("stats", corpus.BUFFERS)
    assert (stats["last_error_kind"], stats["last_error_at"]) == ("bad_mac", "2026-11-20T11:00:00.000Z")
    assert (stats["bad_mac_errors"], stats["bad_decrypt_errors"]) == (1, 1)


@pytest.mark.parametrize(
    "line",
    [
        b"\0\0\0" + _pino(1_795_200_155_987, "A", number="7\0"),
        _pino(1_795_200_155_987, "A").replace(b"@s.whatsapp.net", b"\\u0000"),
        _pino(1_795_200_155_987, "A").replace(b"async 7701", b"async \0701"),
        b"0001-01-01T00:00:00+05:00: " + _counter(1),
        b"9999-12-31T23:59:59-05:00: " + _counter(1),
        _pino(10**15, "A"),
    ],
)
def test_a_damaged_line_stops_nothing(fleet: Fleet, logs: Logs, line: bytes) -> None:
    logs.write("out", line + _counter(2))
    assert logs.record(fleet)["recorded"]["entries"]["error_counted"]
    assert fleet("logs", *logs.names.values()).code == 0


def test_a_container_whose_name_changes_reads_on(fleet: Fleet, logs: Logs) -> None:
    logs.write("out", backend_logs.content("out")[:60_000])
    logs.record(fleet)
    fleet.sql("UPDATE wa_sessions.log_file SET host = 'another', device = device + 1 WHERE path LIKE '%out.log'")
    assert logs.record(fleet)["recorded"]["entries"] == {}
    fleet.sql("UPDATE wa_sessions.log_file SET host = 'another', tail = 'of it' WHERE path LIKE '%out.log'")
    assert logs.record(fleet)["recorded"]["entries"]["error_counted"]


def test_for_an_organization_or_for_all_but_not_both(fleet: Fleet, logs: Logs) -> None:
    for stream in logs.names:
        logs.write(stream, backend_logs.content(stream))
    for organization, number in (("1", corpus.BUFFERS), ("2", corpus.SEVENTH)):
        logs.record(fleet, "--org", organization)
        assert _counters(fleet)[number][0] == backend_logs.TRUTH["phones"][number]["bad_mac"]["last_n"]
    answer = fleet("logs", *logs.names.values(), "--record")
    assert (answer.code, "is recorded for organization" in answer.err) == (2, True)


def test_at_the_same_time_only_one_records(fleet: Fleet, logs: Logs) -> None:
    logs.write("out", backend_logs.content("out"))
    logs.record(fleet)
    fleet.sql(
        """CREATE FUNCTION public.meanwhile() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RETURN NULL; END $$"""
    )
    fleet.sql("CREATE TRIGGER t BEFORE UPDATE ON wa_sessions.log_file FOR EACH ROW EXECUTE FUNCTION public.meanwhile()")
    answer = fleet("logs", *logs.names.values(), "--record")
    fleet.sql("DROP TRIGGER t ON wa_sessions.log_file")
    assert (answer.code, "another command records" in answer.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-", "--record"], 2, "stdin cannot be read on later"),
        (["-", "--follow"], 2, "stdin cannot be read on later"),
        (["x.log", "--find-secrets", "--record"], 2, "--find-secrets only counts"),
        (["nowhere.log", "--record"], 1, "nowhere.log"),
    ],
)
def test_refused(fleet: Fleet, arguments: list[str], code: int, words: str) -> None:
    answer = fleet("logs", *arguments)
    assert (answer.code, words in answer.err) == (code, True)
