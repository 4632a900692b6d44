"""A phone that falls silent in logs that name phones, by the installed command, against what misleads: no false ok.

``A`` is always well. What is told in detail stands in ``tests/integration/test_log_silence.py``.
"""

import gzip
import json
import shutil
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support import corpus
from support.night import Night

from wa_sessions.db.gateway import Database

A, B = corpus.BUFFERS, corpus.PAIRED
PEER = "77019990053"
A_MINUTE, AN_HOUR = 60_000, 60
NEVER = "no line of the logs names it, though they name other phones all the time"


@pytest.fixture
def night(database: Database, database_url: str) -> Night:
    """Two phones, connected long ago."""
    with database.transaction() as conn:
        corpus.load(conn, "baileys_auth")
        conn.execute("""DELETE FROM public."OrganizationPhone" WHERE id NOT IN (1, 3)""")
        conn.execute("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() - interval '20 days'""")
    return Night(database, database_url)


def ago(begin: float, end: float = 0, every: int = 3) -> range:
    """Moments from so many minutes ago on."""
    now = round(time.time() * 1000)
    return range(now - round(begin * A_MINUTE), now - round(end * A_MINUTE) + 1, every * A_MINUTE)


def pino(at: int, **fields: Any) -> str:
    entry = {"level": 30, "time": at, "pid": 7, "hostname": "h"} | fields | {"msg": fields.get("msg", "recv ack")}
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False) + "\n"


def bound(moments: Iterable[int], number: str, **fields: Any) -> str:
    return "".join(pino(at, phone=number, **fields) for at in moments)


def told(night: Night, number: str) -> tuple[str, str | None]:
    """Severity and reason, which no two commands tell otherwise."""
    stats, checked, listed = night.each(("stats", number, "--json"), ("check", number), ("sessions", "--json"))
    [row] = [one for one in listed.json["sessions"] if one["phone"] == number]
    found: tuple[str, str | None] = stats.json["severity"], stats.json["unknown_reason"]
    assert (row["severity"], row["unknown_reason"]) == found
    assert checked.code == {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}[found[0]]
    return found


def record(night: Night, *logs: Path) -> str:
    ended = night("logs", *map(str, logs), "--record")
    assert ended.code == 0, ended.err
    return ended.err


def recorded(night: Night, log: Path, text: str) -> str:
    log.write_text(text, encoding="utf-8")
    return record(night, log)


def test_its_number_in_a_customers_text(night: Night, tmp_path: Path) -> None:
    texts = [B, f"[{B}] connected", f'{{"phone":"{B}"}}', pino(ago(0)[0], phone=B), f"x\n[{B}", f'"session":"{B}"']
    spoken = [
        pino(at, phone=A, remoteJid=f"{B}@s.whatsapp.net", text=text, msg=text) for at in ago(40) for text in texts
    ]
    chats = [json.dumps({"from": PEER, "timestamp": at, "body": pino(at, phone=B)}) + "\n" for at in ago(40)]
    sent = [f'{PEER}: [{B}] привет\n✅ Сообщение отправлено: {A}@s.whatsapp.net -> {B}@s.whatsapp.net: "{B}"\n'] * 9
    recorded(night, tmp_path / "a.log", bound(ago(240, 42), B) + bound(ago(240), A) + "".join(spoken + chats + sent))
    assert told(night, A) == ("ok", None)
    assert told(night, B) == ("unknown", "its lines stopped 42 min ago; at this hour they usually come within 3 min")


def test_two_organizations_have_the_number(night: Night, tmp_path: Path) -> None:
    """Nobody observes it, whoever is named."""
    night.sql("""INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", status, "updatedAt")
        VALUES (2, %s, 'connected', now())""", f"{B}:5@s.whatsapp.net")  # fmt: skip
    by_id = "".join(pino(at, organizationPhoneId=3) for at in ago(240))
    recorded(night, tmp_path / "a.log", bound(ago(240), A) + bound(ago(240), B) + by_id)
    assert told(night, A) == ("ok", None)
    severities = {one["severity"] for one in night.json("sessions")["sessions"] if one["phone"] == B}
    assert severities == {"unknown"}
    assert night.json("logs", str(tmp_path / "a.log"), "--record")["recorded"]["phones"] == 1


def test_within_wrappers(night: Night, tmp_path: Path) -> None:
    def wrapped(text: str) -> str:
        inner = [json.dumps({"log": line, "stream": "stdout", "time": "2026-11-20T18:47:01.3Z"})
                 for line in text.splitlines(keepends=True)]  # fmt: skip
        return "".join(json.dumps({"message": line, "host": "n1", "ts": 1}) + "\n" for line in inner)

    recorded(night, tmp_path / "a.log", wrapped(bound(ago(240), A) + bound(ago(240, 42), B)))
    assert told(night, A) == ("ok", None)
    assert told(night, B)[0] == "unknown"


def test_the_reader_was_stopped_for_a_night(night: Night, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    recorded(night, log, bound(ago(900, 600), A) + bound(ago(900, 600), B))
    night.sql("UPDATE wa_sessions.log_watch SET read_at = read_at - interval '10 hours'")
    assert told(night, A)[0] == told(night, B)[0] == "unknown"
    with log.open("a", encoding="utf-8") as file:
        file.write(bound(ago(600), A) + bound(ago(600, 200), B))
    record(night, log)
    assert told(night, A) == ("ok", None)
    assert told(night, B) == ("unknown", "its lines stopped 3 h ago; at this hour they usually come within 3 min")


@pytest.mark.parametrize("how", ["renamed", "copied", "packed", "deleted", "emptied"])
def test_the_log_was_rotated(night: Night, tmp_path: Path, how: str) -> None:
    log, old = tmp_path / "a.log", tmp_path / "a.log.1"
    recorded(night, log, bound(ago(240, 30), A) + bound(ago(240, 42), B))
    with log.open("a", encoding="utf-8") as file:
        file.write(bound(ago(27, 3), A))
    match how:
        case "renamed":
            log.rename(old)
        case "copied":
            shutil.copy(log, old)
            log.write_text("", encoding="utf-8")
        case "packed":
            Path(f"{old}.gz").write_bytes(gzip.compress(log.read_bytes()))
            log.unlink()
        case "deleted":
            log.unlink()
        case _:
            log.write_text("", encoding="utf-8")
    record(night, log)
    reasons = dict.fromkeys(("packed", "deleted"), "its log is gone: a.log")
    reasons["emptied"] = "nothing of the backend or its library was logged for 30 min"
    assert told(night, A) == (("unknown", reasons[how]) if how in reasons else ("ok", None))
    assert told(night, B)[0] == "unknown"
    recorded(night, log, bound(ago(0), A))
    assert told(night, A) == ("ok", None)
    assert told(night, B)[0] == "unknown"


@pytest.mark.parametrize("hours", [5, -5])
def test_times_of_another_zone(night: Night, tmp_path: Path, hours: int) -> None:
    """Lines without a zone, of a machine elsewhere. That times are behind is not seen: nobody is well by such lines."""

    def lines(moments: Iterable[int], number: str) -> str:
        stamps = (datetime.fromtimestamp(at / 1000 + hours * 3600, UTC) for at in moments)
        return "".join(f"{stamp:%Y-%m-%d %H:%M:%S} [{number}] recv ack\n" for stamp in stamps)

    log, ours = tmp_path / "a.log", "".join(pino(at) for at in ago(60))
    recorded(night, log, lines(ago(240), A) + lines(ago(240, 42), B) + ours)
    assert told(night, B)[0] == "unknown"
    assert told(night, A)[0] == ("ok" if hours > 0 else "unknown")


def test_its_row_has_another_number(night: Night, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    recorded(night, log, bound(ago(240), A) + bound(ago(240), B))
    assert told(night, B) == ("ok", None)
    night.sql("""UPDATE public."OrganizationPhone" SET "phoneJid" = '77077777777@s.whatsapp.net' WHERE id = 3""")
    night.sql("UPDATE wa_sessions.log_habit SET last_named_at = last_named_at - interval '1 hour' WHERE phone_id = 3")
    with log.open("a", encoding="utf-8") as file:
        file.write(bound(ago(0), A) + bound(ago(0), B))
    assert f"named in the log, not in the database: {B}" in record(night, log)
    assert told(night, "77077777777")[0] == "unknown"
    assert told(night, A) == ("ok", None)


def test_three_hundred_phones(night: Night, tmp_path: Path) -> None:
    numbers = [str(77_060_000_000 + n) for n in range(300)]
    for number in numbers:
        night.sql("""INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", status, "updatedAt")
            VALUES (5, %s, 'connected', now())""", f"{number}@s.whatsapp.net")  # fmt: skip
    log, silent = tmp_path / "a.log", set(numbers[::37])
    lines = [(at, number) for number in [A, B, *numbers] for at in ago(300, 50 if number in silent else 0, 5)]
    log.write_text("".join(pino(at, phone=number) for at, number in sorted(lines)), encoding="utf-8")
    ended = night("logs", str(log), "--record")
    found = {one["phone"] for one in night.json("sessions")["sessions"] if one["severity"] == "unknown"}
    assert found == silent
    assert len(ended.out.splitlines()) < 20
    checked = night("check", "--all")
    assert (checked.code, "its lines stopped 50 min ago" in checked.out) == (3, True)


def test_one_that_sleeps_at_night(night: Night, tmp_path: Path) -> None:
    now = ago(0)[0]
    every = ago(9 * 24 * AN_HOUR, 0, 4)
    day = [at for at in every if 5 < (now - at) / A_MINUTE / AN_HOUR % 24 < 19]
    evening = [at for at in every if not 5 < (now - at) / A_MINUTE / AN_HOUR % 24 < 19 and now - at > 50 * A_MINUTE]
    log = tmp_path / "a.log"
    recorded(night, log, bound(ago(240), A) + bound(day, B))
    assert told(night, B) == ("ok", None), "it sleeps"
    night.sql("TRUNCATE wa_sessions.log_habit, wa_sessions.log_file, wa_sessions.log_watch")
    recorded(night, log, bound(ago(240), A) + bound(evening, B))
    assert told(night, B)[0] == "unknown", "it should be awake"


def test_a_burst_and_then_silence(night: Night, tmp_path: Path) -> None:
    """As when it is paired, or the backend starts; no habit comes of that, nor of three such starts."""
    starts = [at for begin in (300, 260, 215) for at in range(ago(begin)[0], ago(begin - 2)[0], 5_000)]
    log = tmp_path / "a.log"
    recorded(night, log, bound(ago(300), A) + bound(starts, B))
    assert told(night, B) == ("ok", None)
    night.sql("UPDATE wa_sessions.log_habit SET last_named_at = last_named_at - interval '2 days',"
              " first_named_at = first_named_at - interval '2 days' WHERE phone_id = 3")  # fmt: skip
    record(night, log)
    assert told(night, B) == ("unknown", "its lines stopped 2 days ago")


def test_a_field_of_customers_numbers(night: Night, tmp_path: Path) -> None:
    """``phone`` is a customer's here; one of them has B's number, and a session of its own names A."""
    orders = [pino(at, phone=str(77_090_000_000 + n), msg="order") for n, at in enumerate(ago(240))]
    ours = [pino(at, session=A) for at in ago(240)]
    shown = recorded(night, tmp_path / "a.log", "".join([*orders, *ours, *bound(ago(30), B).splitlines(keepends=True)]))
    assert told(night, A) == ("ok", None)
    assert told(night, B) == ("unknown", NEVER)
    assert "not in the database" not in shown
