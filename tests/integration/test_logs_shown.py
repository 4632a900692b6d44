"""What ``logs`` shows: the worst first, with names; of one phone, of the last hour; one line an event as they come."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import corpus, log_cases, warm
from support.fleet import Fleet
from support.terminal import PROGRAM
from support.waiting import PATIENCE


def own(number: int, phone: str = corpus.BUFFERS, ago: timedelta = timedelta()) -> str:
    return f"{datetime.now(UTC) - ago:%Y-%m-%dT%H:%M:%SZ}: ⚠️ Bad MAC error #{number} для {phone}@s.whatsapp.net\n"


def failed(why: str, ago: timedelta = timedelta()) -> str:
    line = json.loads((log_cases.FOLDER / "reasons/bad_mac_pkmsg.log").read_text())
    line["time"] = round((time.time() - ago.total_seconds()) * 1000)
    line["err"]["message"], line["key"]["id"] = why, why
    return json.dumps(line) + "\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_text(
        own(1, corpus.PAIRED)
        + own(1, ago=timedelta(hours=3))
        + own(2, ago=timedelta(hours=2))
        + failed("No session record", timedelta(hours=2))
        + failed("Over 2000 messages into the future!")
    )
    return path


def test_the_worst_stands_first_and_has_its_name(fleet: Fleet, log: Path) -> None:
    shown = fleet("logs", str(log)).out.splitlines()
    assert [line.split()[0] for line in shown[1:3]] == [corpus.BUFFERS, corpus.PAIRED]
    assert ("Отдел" in shown[1], "Shop" in shown[2]) == (True, True)
    text = "\n".join(shown)
    assert "1 no session: there was no session with the sender" in text
    assert "1 other: failed for another reason" in text
    assert f"left out, as the official API runs it: {corpus.WABA}" in text
    assert fleet.json("logs", str(log))["left_out"] == [{"phone": corpus.WABA, "reason": "the official API runs it"}]


def test_of_one_phone_and_since_then(fleet: Fleet, log: Path) -> None:
    alone = fleet.json("logs", "+7 705 123 45 67", str(log))
    assert [phone["phone"] for phone in alone["phones"]] == [corpus.BUFFERS]
    assert alone["phones"][0]["name"] == "Отдел продаж"
    hour = fleet.json("logs", str(log), "--since", "1h")
    [first, second] = hour["phones"]
    assert (first["phone"], first["bad_mac"]["messages"]) == (corpus.PAIRED, 1)
    assert (second["bad_mac"]["counter_lines"], second["bad_mac"]["last_counter"]) == (0, 2)
    assert {kind for kind, count in second["library"].items() if count} == {"other"}
    assert fleet("logs", "+77051234567", str(log), "--record").code == 2
    assert fleet("logs", "+77059999999", str(log)).code == 3
    assert fleet("logs", "+77051234567").code == 2


def test_what_was_not_asked_for_is_not_said_to_be_missing(fleet: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    at = f"{datetime.now(UTC) - timedelta(hours=3):%Y-%m-%dT%H:%M:%SZ}: "
    log.write_text(
        own(1, corpus.PAIRED, timedelta(hours=3)) + at + "🔄 Счетчики ошибок сброшены для organizationPhoneId: 3\n"
    )
    old = fleet("logs", str(log), "--since", "1h").out.splitlines()[0]
    assert re.fullmatch(r"no line since \d\d \w{3} \d\d:\d\d UTC names a phone", old)
    other = fleet("logs", corpus.BUFFERS, str(log)).out
    assert other.startswith("no line names a phone of these\n")
    assert "of all phones" in other
    assert "no known phone" not in other, "it is one of those that were not asked for"
    assert fleet("logs", str(log), "--record").code == 0
    assert fleet("logs", str(log), "--record").out.startswith("no new line names a phone\n")


@pytest.mark.parametrize("known", [True, False])
def test_when_the_last_line_of_a_silent_log_was_written_is_said(fleet: Fleet, tmp_path: Path, *, known: bool) -> None:
    silent, young = tmp_path / "silent.log", tmp_path / "young.log"
    silent.write_text(own(1, ago=timedelta(hours=3)) if known else "[Prisma] Query 38ms\n")
    young.write_text(own(1, corpus.PAIRED))
    moment = datetime.now(UTC) - timedelta(hours=3)
    os.utime(silent, (moment.timestamp(), moment.timestamp()))
    shown = " ".join(fleet("logs", str(silent), str(young), "--since", "1h").out.split())
    assert f"{silent} is silent: " in shown
    assert ("its last line of the backend or its library was written" in shown) is known
    assert ("it was last written to" in shown) is not known
    assert "young.log is silent" not in shown
    assert " is silent" not in fleet("logs", str(silent), str(young)).out
    assert "logs" not in fleet.json("logs", str(silent))
    [old, new] = fleet.json("logs", str(silent), str(young), "--since", "1h")["logs"]
    assert (old["last_line_at"] is not None) is known
    assert abs(datetime.fromisoformat(old["last_line_at"] or old["written_at"]) - moment) < timedelta(minutes=2)
    assert datetime.fromisoformat(new["last_line_at"]) > moment + timedelta(hours=2)


def test_a_log_in_which_nothing_was_understood_is_not_told_as_quiet(fleet: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("listening on :3000\n" * 50)
    shown = fleet("logs", str(log)).out
    assert shown.startswith("no line here is known to be the backend's or its library's: are these its logs?\n")
    assert "no failed message" not in shown
    log.write_text(f'{{"level":30,"time":{time.time_ns() // 1_000_000},"msg":"resyncing regular_high from v12"}}\n')
    assert fleet("logs", str(log)).out.startswith("no line names a phone\n")


def test_the_name_of_a_process_is_not_taken_for_a_file(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PM2_HOME", str(tmp_path))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/backend-out.log").write_text("")
    assert fleet("logs", "other").code == 1
    told = fleet("logs", "backend")
    assert (told.code, "wa-sessions logs --pm2 backend" in told.err) == (1, True)


def test_the_name_of_a_log_is_not_broken_at_its_hyphens(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    log = tmp_path / "a-backend-of-messages-out.log"
    log.write_text(f'{{"level":30,"time":{time.time_ns() // 1_000_000},"msg":"resyncing regular_high from v12"}}\n')
    assert "a-backend-of-messages-error.log" in fleet("logs", str(log), "--record").out
    assert "a-backend-of-messages-error.log" in fleet("stats", corpus.BUFFERS).out


@pytest.mark.parametrize("columns", [50, 60, 79, 80])
def test_a_narrow_table_drops_columns_and_names_last(
    fleet: Fleet, log: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = fleet("logs", str(log)).out.partition("\n\n")[0].splitlines()
    assert all(len(line) <= columns for line in shown)
    assert shown[0].split()[-1] == "NAME"
    assert "Отд" in shown[1]


@pytest.fixture
def following(fleet: Fleet, log: Path) -> Iterator[warm.Popen[str]]:
    with warm.Popen(
        [PROGRAM, "logs", str(log), "--follow"],
        env=os.environ | {"WA_SESSIONS_DATABASE_URL": fleet.url},
        stdin=warm.DEVNULL,
        stdout=warm.PIPE,
        stderr=warm.PIPE,
        text=True,
    ) as process:
        yield process
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 130


def test_followed_it_reads_like_a_log(following: warm.Popen[str], log: Path) -> None:
    assert following.stdout
    while "left out" not in following.stdout.readline():
        pass
    with log.open("a") as file:
        file.write("GET /health\n" + own(2) + failed("No session record"))
        file.write(f"🚪 Закрытие сессии для {corpus.PAIRED}@s.whatsapp.net. Причина: Слишком много ошибок Bad MAC\n")
    rows = [following.stdout.readline().rstrip("\n").split("  ") for _ in range(3)]
    assert sorted(row[1:] for row in rows) == [
        [corpus.PAIRED, "closed: Слишком много ошибок Bad MAC", 'Shop "24/7"'],
        [corpus.BUFFERS, "Bad MAC #2", "Отдел продаж"],
        [corpus.BUFFERS, "a message without a session", "Отдел продаж"],
    ]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d", row[0]) for row in rows)
