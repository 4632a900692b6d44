"""``logs --record``: in logs that name several phones, one that falls silent beside others is unknown, never ok."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from support import corpus
from support.fleet import Fleet

CHATTY, SILENT = corpus.BUFFERS, corpus.PAIRED
OTHERS = (corpus.SEVENTH, corpus.SEVENTH_PAIRED, "77770001122", "77029990011")
A_MINUTE = 60_000


@pytest.fixture
def two(fleet: Fleet) -> Fleet:
    """Two phones whose backends write logs, and none else."""
    fleet.sql("""DELETE FROM public."OrganizationPhone" WHERE id NOT IN (1, 3)""")
    fleet.sql("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() - interval '20 days'""")
    return fleet


def pino(at: int, **fields: Any) -> str:
    return json.dumps({"level": 30, "time": at, "pid": 7, "hostname": "h"} | fields, separators=(",", ":")) + "\n"


def minutes(begin: int, end: int = 0, every: int = 3) -> range:
    """Moments from so many minutes ago on, in ms."""
    now = round(time.time() * 1000)
    return range(now - begin * A_MINUTE, now - end * A_MINUTE + 1, every * A_MINUTE)


def named(moments: Iterable[int], number: str, msg: str = "recv ack") -> str:
    return "".join(pino(at, phone=number, msg=msg) for at in moments)


def told(fleet: Fleet, number: str) -> tuple[str, str | None]:
    """Severity and reason, the same of every command that tells them."""
    stats = fleet.json("stats", number)
    [listed] = [one for one in fleet.json("sessions")["sessions"] if one["phone"] == number]
    checked = fleet("check", number)
    assert (listed["severity"], listed["unknown_reason"]) == (stats["severity"], stats["unknown_reason"])
    assert checked.code == {"ok": 0, "unknown": 3}[stats["severity"]]
    assert (stats["unknown_reason"] or "") in checked.out
    assert (stats["unknown_reason"] or "") in fleet("stats", number).out.replace("\n", " ")
    return stats["severity"], stats["unknown_reason"]


def test_one_that_falls_silent_beside_a_chatty_one(two: Fleet, tmp_path: Path) -> None:
    chatty, silent = tmp_path / "a.log", tmp_path / "b.log"
    chatty.write_text(named(minutes(240), CHATTY))
    silent.write_text(named(minutes(240, 42), SILENT))
    assert two("logs", str(chatty), str(silent), "--record").code == 0
    assert told(two, CHATTY) == ("ok", None)
    assert told(two, SILENT) == ("unknown", "its lines stopped 42 min ago; at this hour they usually come within 3 min")
    assert "wa-sessions logs " in two("stats", SILENT).out.partition("next:")[2]
    metrics = two("metrics").out
    assert f'phone="{SILENT}"' in next(line for line in metrics.splitlines() if 'unknown_because="logs"' in line)
    with silent.open("a") as file:
        file.write(named(minutes(0), SILENT))
    two("logs", str(chatty), str(silent), "--record")
    assert told(two, SILENT) == ("ok", None)


def test_one_that_no_line_names_beside_others(two: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(named(minutes(240), CHATTY))
    two("logs", str(log), "--record")
    assert told(two, CHATTY) == ("ok", None)
    assert told(two, SILENT) == ("unknown", "no line of the logs names it, though they name other phones all the time")


def test_a_log_that_names_nobody_is_as_it_was(two: Fleet, tmp_path: Path) -> None:
    """Lines that are recognized show that the process lives, and that failures would be seen."""
    log = tmp_path / "app.log"
    log.write_text("".join(pino(at, msg="recv ack", remoteJid="77019990053@s.whatsapp.net") for at in minutes(240)))
    two("logs", str(log), "--record")
    assert told(two, CHATTY) == told(two, SILENT) == ("ok", None)


def test_what_a_customer_writes_is_no_sign_of_life(two: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    bound = f'{{"level":30,"time":{minutes(0)[0]},"phone":"{SILENT}","msg":"recv ack"}}'
    texts = [SILENT, f'","phone":"{SILENT}","x":"', bound, f"[{SILENT}] connected", f"{SILENT}@s.whatsapp.net"]
    log.write_text(
        named(minutes(240, 42), SILENT)
        + named(minutes(240), CHATTY)
        + "".join(
            pino(at, phone=CHATTY, remoteJid=f"{SILENT}@s.whatsapp.net", text=text, pushName=text, msg=text)
            for at in minutes(30)
            for text in texts
        )
    )
    two("logs", str(log), "--record")
    assert told(two, CHATTY) == ("ok", None)
    assert told(two, SILENT)[0] == "unknown"


def test_trouble_is_a_sign_of_life(two: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    [now] = minutes(0)
    trouble = pino(now, msg=f"⚠️ Bad MAC error #1 для {SILENT}@s.whatsapp.net")
    log.write_text(named(minutes(240), CHATTY) + named(minutes(240, 42), SILENT) + trouble)
    two("logs", str(log), "--record")
    assert two.json("stats", SILENT)["severity"] == "warning"
    with log.open("a") as file:
        file.write(pino(now, msg="🔄 Счетчики ошибок сброшены для organizationPhoneId: 3"))
    two("logs", str(log), "--record")
    assert told(two, SILENT) == ("ok", None)


def test_a_phone_that_is_not_meant_to_be_connected_is_not_silent(two: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(named(minutes(240, 42), SILENT) + named(minutes(240), CHATTY))
    two.sql("""UPDATE public."OrganizationPhone" SET status = 'disconnected' WHERE id = 3""")
    two("logs", str(log), "--record")
    assert two.json("stats", SILENT)["unknown_reason"] == "not connected (disconnected)"
    two.sql("""UPDATE public."OrganizationPhone" SET status = 'connected' WHERE id = 3""")
    two("logs", str(log), "--record")
    assert told(two, SILENT) == ("ok", None)


def test_a_reader_that_was_away_finds_what_was_written_meanwhile(two: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(named(minutes(900, 600), SILENT) + named(minutes(900, 600), CHATTY))
    two("logs", str(log), "--record")
    two.sql("UPDATE wa_sessions.log_watch SET read_at = read_at - interval '10 hours'")
    assert "nobody has read the logs" in str(told(two, SILENT)[1])
    with log.open("a") as file:
        file.write(named(minutes(597), CHATTY) + named(minutes(597), SILENT))
    two("logs", str(log), "--record")
    assert told(two, SILENT) == told(two, CHATTY) == ("ok", None)


def test_what_was_lost_while_nobody_read_is_no_silence(two: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(named(minutes(900, 600), SILENT) + named(minutes(900, 600), CHATTY))
    two("logs", str(log), "--record")
    two.sql("UPDATE wa_sessions.log_watch SET read_at = read_at - interval '10 hours'")
    log.write_text(named(minutes(3), CHATTY))
    shown = two("logs", str(log), "--record")
    assert "was truncated" in shown.err
    assert told(two, CHATTY) == ("ok", None)
    assert told(two, SILENT) == ("ok", None)
    two.sql("UPDATE wa_sessions.log_habit SET last_named_at = last_named_at - interval '1 hour' WHERE phone_id = 3")
    two("logs", str(log), "--record")
    assert told(two, SILENT)[0] == "unknown"


def test_habits_are_learned_anew_where_that_is_asked_for(two: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(named(minutes(240, 42), SILENT) + named(minutes(240, 42), CHATTY))
    with log.open("a") as file:
        file.write("".join(pino(at, msg="recv ack") for at in minutes(42)))
    two("logs", str(log), "--record")
    assert told(two, SILENT)[0] == told(two, CHATTY)[0] == "unknown"
    assert two("logs", str(log), "--forget-habits").code == 2
    two("logs", str(log), "--record", "--forget-habits")
    assert told(two, SILENT) == told(two, CHATTY) == ("ok", None)


def test_whom_no_row_has_is_told(two: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    trouble = pino(minutes(0)[0], msg="⚠️ Bad MAC error #1 для 77777777777@s.whatsapp.net")
    log.write_text(named(minutes(9), CHATTY) + named(minutes(9), "77055555555") + trouble)
    shown = two("logs", str(log), "--record")
    assert "named in the log, not in the database: 77055555555, 77777777777" in shown.err
    assert two.json("logs", str(log), "--record")["recorded"]["not_in_database"] == []


def test_of_an_organization_the_others_phones_are_no_strangers(fleet: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(named(minutes(240), CHATTY) + named(minutes(240), corpus.SEVENTH))
    recorded = fleet.json("logs", str(log), "--record", "--org", "1")["recorded"]
    assert recorded["not_in_database"] == []


@pytest.mark.parametrize("kept", [False, True])
def test_a_log_that_is_gone_is_told_at_once(two: Fleet, tmp_path: Path, kept: bool) -> None:
    log = tmp_path / "app.log"
    log.write_text(named(minutes(240), CHATTY) + named(minutes(240), SILENT))
    two("logs", str(log), "--record")
    assert told(two, SILENT) == ("ok", None)
    if kept:
        log.rename(tmp_path / "app.log.1")
    else:
        log.unlink()
    assert two("logs", str(log), "--record").code == 0
    expected = ("ok", None) if kept else ("unknown", "its log is gone: app.log")
    assert told(two, SILENT) == told(two, CHATTY) == expected
    log.write_text(named(minutes(0), CHATTY))
    two("logs", str(log), "--record")
    assert told(two, SILENT) == ("ok", None)


def test_one_that_sleeps_at_night_is_missed_by_day(two: Fleet, tmp_path: Path) -> None:
    """Its day is the half before and the half after this time of day; then the same, twelve hours later."""
    log, chatty = tmp_path / "app.log", named(minutes(240), CHATTY)
    by_day = [at for at in minutes(8 * 1_440, 45, 4) if 6 < (at - minutes(0)[0]) / A_MINUTE / 60 % 24 < 18]
    by_night = [at for at in minutes(8 * 1_440, 300, 4) if not 6 < (at - minutes(0)[0]) / A_MINUTE / 60 % 24 < 18]
    log.write_text(named(by_night, SILENT) + chatty)
    two("logs", str(log), "--record")
    assert told(two, SILENT)[0] == "unknown"
    two.sql("TRUNCATE wa_sessions.log_file, wa_sessions.log_habit, wa_sessions.log_watch")
    log.write_text(named(by_day, SILENT) + chatty)
    two("logs", str(log), "--record")
    assert told(two, SILENT) == ("ok", None)
