"""``logs --record``: a phone is healthy where its logs were understood, and unknown with a reason elsewhere."""

import os
import time
from pathlib import Path

import pytest
from support import corpus
from support.fleet import Fleet
from support.recent_logs import recent


@pytest.fixture
def watched(fleet: Fleet) -> Fleet:
    """The first phone of the corpus, whose session with the sender of the cases is there, was connected long ago."""
    fleet.sql("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() - interval '2 days'""")
    return fleet


def alerts_of(fleet: Fleet) -> list[str]:
    rows = fleet.sql("SELECT payload ->> 'severity' AS severity FROM wa_sessions.alert WHERE phone_id = 1 ORDER BY id")
    return [row["severity"] for row in rows]


def doubt(fleet: Fleet) -> str | None:
    [row] = fleet.sql("SELECT doubt FROM wa_sessions.log_watch WHERE phone_id = 1")
    return None if row["doubt"] is None else str(row["doubt"])


@pytest.mark.parametrize("case", ["good", "colonspace", "compose", "node16"])
def test_both_logs_give_what_they_hold(watched: Fleet, tmp_path: Path, case: str) -> None:
    watched("logs", *recent(tmp_path, f"{case}-out", f"{case}-err"), "--record")
    stats = watched.json("stats", corpus.BUFFERS)
    assert (stats["severity"], stats["bad_mac_errors"]) == ("critical", 6)
    assert watched("check", corpus.BUFFERS).code == 2


@pytest.mark.parametrize(
    ("cases", "reason"),
    [
        (["good-err"], "18 failed messages of which only libsignal's log tells, as the other one is not read"),
        (["good-out"], "18 failed messages of which only the other log says why"),
        (["noise-out"], "one of the backend's two logs is not read: noise-error.log"),
    ],
)
def test_what_was_not_understood_is_never_health(watched: Fleet, tmp_path: Path, cases: list[str], reason: str) -> None:
    shown = watched("logs", *recent(tmp_path, *cases), "--record")
    assert shown.code == 0
    assert reason.split()[0] in shown.out
    stats = watched.json("stats", corpus.BUFFERS)
    assert (stats["severity"], stats["unknown_because"], doubt(watched)) == ("unknown", "logs", reason)
    assert watched("check", corpus.BUFFERS).code == 3
    watched("logs", *recent(tmp_path, *cases), "--record")
    assert watched.json("stats", corpus.BUFFERS)["severity"] == "unknown", "the next run of cron forgets nothing"


def test_json_has_the_doubts_and_whose_they_are(watched: Fleet, tmp_path: Path) -> None:
    [one, everybody] = sorted(
        watched.json("logs", *recent(tmp_path, "good-out"), "--record")["recorded"]["doubts"],
        key=lambda told: len(told["phones"]),
    )
    assert one == {"reason": "18 failed messages of which only the other log says why", "phones": [corpus.BUFFERS]}
    assert everybody["reason"] == "one of the backend's two logs is not read: good-error.log"
    for number in everybody["phones"]:
        assert watched.json("stats", number)["unknown_reason"], number


def test_no_line_was_recognized(watched: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("[Prisma] Query 38ms\n" * 50)
    watched("logs", str(log), "--record")
    assert doubt(watched) == "its logs are read, and no line in them is known to be the backend's or its library's"
    with log.open("a") as file:
        file.write("shop backend says: Session error:Error: Bad MAC Error: Bad MAC\n" * 3 + "…\n")
    shown = watched("logs", str(log), "--record")
    assert doubt(watched) == "3 lines with the library's words behind a prefix or in a form that is not known"
    assert "3 lines" in shown.err


def test_a_backend_that_does_not_come_up_makes_no_phone_healthy(watched: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    log.write_text(f"{stamp}: Error: connect ECONNREFUSED 127.0.0.1:5432\n" * 20)
    watched("logs", str(log), "--record")
    assert doubt(watched) == "its logs are read, and no line in them is known to be the backend's or its library's"
    assert watched("check", corpus.BUFFERS).code == 3


def test_what_could_not_be_read_beside_what_could_is_not_health(watched: Fleet, tmp_path: Path) -> None:
    now, log = round(time.time() * 1000), tmp_path / "app.log"
    log.write_text(
        f'{{"level":30,"time":{now},"msg":"synced regular to v5"}}\nshop says: Session error:Error: Bad MAC\nready\n'
    )
    for _ in range(2):
        watched("logs", str(log), "--record")
        assert doubt(watched) == "1 line with the library's words behind a prefix or in a form that is not known"
        assert watched.json("stats", corpus.BUFFERS)["severity"] == "unknown"


def test_of_a_number_in_two_organizations_it_is_said_why_its_logs_tell_nothing(watched: Fleet, tmp_path: Path) -> None:
    now, log = round(time.time() * 1000), tmp_path / "app.log"
    log.write_text(f'{{"level":30,"time":{now},"msg":"synced regular to v5"}}\n')
    watched.sql(f"""INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", "status", "updatedAt")
                VALUES (40, '{corpus.BUFFERS}:3@s.whatsapp.net', 'connected', now())""")
    shown = watched("logs", str(log), "--record")
    assert f"two organizations: {corpus.BUFFERS}\n" in shown.out, "once, though two rows have it"
    stats = watched.json("stats", corpus.BUFFERS, "--org", "40")
    assert (stats["severity"], stats["unknown_because"]) == ("unknown", "logs")
    assert stats["unknown_reason"] == "its number stands in two organizations, and lines of logs do not say which"
    watched.sql("""DELETE FROM public."OrganizationPhone" WHERE "organizationId" = 40""")
    watched("logs", str(log), "--record")
    assert (doubt(watched), watched.json("stats", corpus.BUFFERS)["severity"]) == (None, "ok")


def test_nothing_was_logged_lately(watched: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    now = round(time.time() * 1000)
    with log.open("a") as file:
        file.write(f'{{"level":30,"time":{now - 18 * 60_000},"msg":"synced regular to v5"}}\n')
    watched("logs", str(log), "--record")
    assert doubt(watched) == "nothing of the backend or its library was logged for 18 min"
    with log.open("a") as file:
        file.write(f'{{"level":30,"time":{now},"msg":"synced regular to v5"}}\n')
    watched("logs", str(log), "--record")
    assert (doubt(watched), watched.json("stats", corpus.BUFFERS)["severity"]) == (None, "ok")


def test_a_doubt_stands_for_a_while_and_errors_before_it(watched: Fleet, tmp_path: Path) -> None:
    watched("logs", *recent(tmp_path, "over2000-out", "over2000-err", minutes=20), "--record")
    assert doubt(watched) == "nothing of the backend or its library was logged for 20 min"


def test_errors_that_are_counted_are_worse_than_a_doubt(watched: Fleet, tmp_path: Path) -> None:
    watched("logs", *recent(tmp_path, "good-out", "good-err", minutes=20), "--record")
    assert doubt(watched) == "nothing of the backend or its library was logged for 20 min"
    stats = watched.json("stats", corpus.BUFFERS)
    assert (stats["severity"], stats["is_healthy"], stats["unknown_because"]) == ("critical", False, None)
    checked = watched("check", corpus.BUFFERS)
    assert (checked.code, "Bad MAC 6 of 3" in checked.out) == (2, True)
    [listed] = [one for one in watched.json("sessions")["sessions"] if one["phone"] == corpus.BUFFERS]
    assert listed["severity"] == "critical"


def test_a_counter_that_resets_leaves_the_doubt(watched: Fleet, tmp_path: Path) -> None:
    """Nor is it an all-clear, as long as it is not known how the phone is."""
    watched("logs", *recent(tmp_path, "good-out", "good-err"), "--record")
    watched("logs", *recent(tmp_path, "over2000-out", "over2000-err", minutes=5), "--record")
    assert watched.json("stats", corpus.BUFFERS)["severity"] == "critical"
    watched.sql("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() - interval '1 minute'""")
    names = recent(tmp_path, "over2000-out", "over2000-err", minutes=5)
    watched("logs", *names, "--record")
    stats = watched.json("stats", corpus.BUFFERS)
    assert (stats["bad_mac_errors"], stats["severity"]) == (0, "warning")
    assert alerts_of(watched) == ["critical"]
    watched.sql("UPDATE wa_sessions.log_watch SET doubt_at = now() - interval '1 hour'")
    watched.sql("UPDATE wa_sessions.log_uncounted SET failed_at = now() - interval '1 hour'")
    watched("logs", *names, "--record")
    assert alerts_of(watched) == ["critical", "ok"]


def test_a_log_that_nobody_writes_is_read_and_says_nothing(watched: Fleet, tmp_path: Path) -> None:
    empty = tmp_path / "empty.log"
    empty.touch()
    watched("logs", str(empty), "--record")
    assert doubt(watched) == "its logs are read, and no line in them is known to be the backend's or its library's"
    old = recent(tmp_path, "good-out", "good-err", minutes=3 * 24 * 60)
    for name in old:
        os.utime(name, (time.time() - 3 * 86_400,) * 2)
    watched("logs", *old, "--record")
    assert doubt(watched) == "nothing of the backend or its library was logged for 3 days"


def test_collections_name_no_phone(watched: Fleet, tmp_path: Path) -> None:
    now = round(time.time() * 1000)
    line = {"level": 30, "time": now, "name": "regular", "error": "Error: Invalid patch mac"}
    log = tmp_path / "app.log"
    log.write_text(f'{str(line)[:-1].replace(chr(39), chr(34))}, "msg": "failed to sync state from version"}}\n')
    watched("logs", str(log), "--record")
    assert doubt(watched) == "1 collection that did not decrypt, in lines that name no phone"


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["out.log"], "error.log"),
        (["wa.out.log"], "wa.error.log"),
        (["stderr.log"], "stdout.log"),
        (["a/app-out.log", "a/app-error.log", "b/app-out.log"], "app-error.log"),
        (["out/app-out.log", "err/app-err.log"], None),
        (["nohup.out"], None),
    ],
)
def test_half_of_what_a_backend_writes_is_never_health(
    watched: Fleet, tmp_path: Path, names: list[str], missing: str | None
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f'{{"level":30,"time":{round(time.time() * 1000)},"msg":"synced {name}"}}\n')
    assert watched("logs", *(str(tmp_path / name) for name in names), "--record").code == 0
    assert doubt(watched) == (missing and f"one of the backend's two logs is not read: {missing}")


def test_a_time_to_come_tells_of_now_alone(watched: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(f'{{"level":30,"time":{round(time.time() * 1000) + 9 * 86_400_000},"msg":"synced regular to v5"}}\n')
    watched("logs", str(log), "--record")
    watched.sql("UPDATE wa_sessions.log_watch SET seen_at = seen_at - interval '18 min'")
    watched("logs", str(log), "--record")
    assert doubt(watched) == "nothing of the backend or its library was logged for 18 min"
