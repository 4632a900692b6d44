"""A night with a Node backend, by the installed command: no false all-clear, and only words that are true.

Each of these was told wrongly once. What they say in detail stands in ``tests/integration``.
"""

import base64
import json
import re
import shlex
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import corpus
from support.corpus import BUFFERS, LOGGED_OUT, PAIRED, PENDING, SEVENTH, SEVENTH_PAIRED, WABA
from support.night import Night
from support.recent_logs import FOLDER, recent
from support.screen import Screen
from support.terminal import PROGRAM, Ended, Terminal

from wa_sessions import OwnedByAnother, force_close_session
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database

CASES = FOLDER.parent
ONLY_OURS = {"adopt", "assign", "restart", "relink", "send", "run"}
DOWN, UP = ("disconnected", "pending", "logged_out"), ("connected", "loading", "reconnecting")
STRANGE = ("open", "CONNECTED", "syncing", "")
CLEAN = ("clean-app-state", BUFFERS, "--yes")
CLOSE = ("force-close", BUFFERS, "--yes")


@pytest.fixture
def night(database: Database, database_url: str) -> Night:
    """The corpus' phones, all of which were connected long ago."""
    with database.transaction() as conn:
        corpus.load(conn, "baileys_auth")
        conn.execute("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() - interval '2 days'""")
    return Night(database, database_url)


def _unwrapped(ended: Ended) -> str:
    return " ".join(f"{ended.out} {ended.err}".split())


def _next(card: Ended) -> str:
    return " ".join(card.out.partition("next: ")[2].split())


def _how(night: Night, number: str) -> tuple[dict[str, object], Ended, dict[str, object]]:
    """What ``stats``, ``check`` and ``sessions`` say of a phone; the three never disagree."""
    stats, checked, listed = night.each(("stats", number, "--json"), ("check", number), ("sessions", "--json"))
    found = stats.json
    [row] = [one for one in listed.json["sessions"] if one["phone"] == number]
    assert row["severity"] == found["severity"]
    wanted = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}[str(found["severity"])]
    assert checked.code == (2 if found["status"] == "logged_out" else wanted), (checked.out, found)
    if found["severity"] == "unknown" and found["status"] != "logged_out":
        assert str(found["unknown_reason"]) in checked.out
        assert row["unknown_reason"] == found["unknown_reason"]
    return found, checked, row


# ------------------------------------------------------------------------- 1. what was not understood is no health

PRISMA = "prisma:query SELECT 1\n" * 50
UNKNOWN_PREFIX = "shop backend says: Session error:Error: Bad MAC Error: Bad MAC\n" * 3 + "…\n"
READ = [
    ("good", ["good-out", "good-err"], "critical", ""),
    ("colonspace", ["colonspace-out", "colonspace-err"], "critical", ""),
    ("compose", ["compose-out", "compose-err"], "critical", ""),
    ("node16", ["node16-out", "node16-err"], "critical", ""),
    ("over2000", ["over2000-out", "over2000-err"], "warning", "6 messages failed again for a reason"),
    ("skrec", ["skrec-out"], "warning", "6 messages failed again"),
    ("only-err", ["good-err"], "unknown", "the other one is not read"),
    ("only-out", ["good-out"], "unknown", "only the other log says why"),
    ("noise", ["noise-out"], "unknown", "noise-error.log"),
]
WRITTEN = [
    ("one byte", "x", "no line in them is known to be"),
    ("fifty lines of Prisma", PRISMA, "no line in them is known to be"),
    ("an unknown prefix", UNKNOWN_PREFIX, "3 lines with the library's words behind a prefix"),
]


@pytest.mark.parametrize(("cases", "severity", "reason"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_logs_make_a_phone_healthy_only_where_they_were_understood(
    night: Night, tmp_path: Path, cases: list[str], severity: str, reason: str
) -> None:
    recorded = night("logs", *recent(tmp_path, *cases), "--record")
    assert recorded.code == 0
    found, _, _ = _how(night, BUFFERS)
    assert found["severity"] == severity
    if severity == "critical":
        assert found["bad_mac_errors"] == 6
    else:
        assert reason in str(found["uncounted_reason" if severity == "warning" else "unknown_reason"])
        assert reason in _unwrapped(recorded), "whoever records is told at once"


@pytest.mark.parametrize(("text", "reason"), [row[1:] for row in WRITTEN], ids=[row[0] for row in WRITTEN])
def test_a_log_of_other_things_says_nothing_of_a_phone(night: Night, tmp_path: Path, text: str, reason: str) -> None:
    log = tmp_path / "app.log"
    log.write_text(text)
    assert night("logs", str(log), "--record").code == 0
    found, _, _ = _how(night, BUFFERS)
    assert (found["severity"], found["is_healthy"]) == ("unknown", None)
    assert reason in str(found["unknown_reason"])


def test_all_three_say_ok_and_unknown_at_the_same_minute(night: Night) -> None:
    """``stats`` said ok for 15 minutes where ``check`` said UNKNOWN after 5."""
    for phone_id, minutes in ((1, 4), (3, 6), (7, 18)):
        night.sql(
            "INSERT INTO wa_sessions.log_watch (phone_id, read_at) VALUES (%s, now() - make_interval(mins => %s))",
            *(phone_id, minutes),
        )
    assert _how(night, BUFFERS)[0]["severity"] == "ok"
    for number, minutes in ((PAIRED, 6), (SEVENTH, 18)):
        found, _, _ = _how(night, number)
        assert found["unknown_reason"] == f"nobody has read the logs for {minutes} min"
    assert "nobody has read the logs for 18 min" in _unwrapped(night("sessions"))


def test_what_could_not_be_read_is_counted_and_told(night: Night, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("Anna Ivanova 7705: Session error:Error: Bad MAC Error: Bad MAC\n" * 3 + "…\n")
    table, data = night.each(("logs", str(log)), ("logs", str(log), "--json"))
    assert (table.code, data.code) == (0, 0)
    assert "3 lines could not be read" in table.err
    assert "could not be read: 3 lines" in table.out
    [form] = data.json["unread"]
    assert form.keys() == {"form", "lines", "example"}
    assert (form["lines"], form["example"]) == (3, "xxxx xxxxxxx 0000: Session error:…")
    assert "Anna" not in table.out + table.err + data.out


def test_the_words_below_the_table_of_logs_say_what_they_mean(night: Night, tmp_path: Path) -> None:
    at = round(time.time() * 1000)
    failed = json.loads((CASES / "reasons/bad_mac_pkmsg.log").read_text())
    lines = []
    for n, why in enumerate(("Bad MAC", "No session record", "Over 2000 messages into the future!")):
        failed["time"], failed["err"]["message"], failed["key"]["id"] = at, why, str(n)
        lines.append(json.dumps(failed))
    stamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    lines += [f"{stamp}: ⚠️ Bad MAC error #{n} для {who}@s.whatsapp.net" for n, who in ((1, PAIRED), (2, BUFFERS))]
    old = f"{datetime.now(UTC) - timedelta(hours=3):%Y-%m-%dT%H:%M:%SZ}"
    lines.append(f"{old}: 🚪 Закрытие сессии для {BUFFERS}@s.whatsapp.net. Причина: Connection Closed")
    log = tmp_path / "app.log"
    log.write_text("\n".join(lines) + "\n")
    whole, hour, one = night.each(
        ("logs", str(log)), ("logs", str(log), "--since", "1h", "--json"), ("logs", "+7 705 123-45-67", str(log))
    )
    rows = whole.out.splitlines()
    assert [row.split()[0] for row in rows[1:3]] == [BUFFERS, PAIRED], "the worst stands first"
    assert "Отдел" in rows[1]
    for words in (
        "by the library's own lines failed:",
        "1 bad mac: did not authenticate",
        "1 no session: there was no session with the sender",
        "1 other: failed for another reason",
        f"left out, as the official API runs it: {WABA}",
    ):
        assert words in whole.out
    assert [phone["closes"] for phone in hour.json["phones"]] == [{}, {}], "three hours ago is left out"
    assert PAIRED not in one.out.partition("\n\n")[0]
    assert "of all phones" in one.out


# ------------------------------------------------------------------------------- 3. true words about a Node phone


def test_a_session_that_node_runs_is_not_closed_and_nothing_changes(night: Night) -> None:
    night.sql(
        """INSERT INTO wa_sessions.health (phone_id, organization_id, bad_mac_errors, bad_decrypt_errors,
               counted_senders, messages_recovered, messages_lost, state, state_since, max_bad_mac, max_bad_decrypt,
               version, updated_at) VALUES (1, 1, 2, 0, '{}', 0, 0, 'idle', now(), 3, 5, 0, now())"""
    )
    before = night.everything()
    for refused in night.each(CLOSE, (*CLOSE, "--json"), (*CLOSE, "--logout"), ("force-close", "all", "--yes")):
        assert (refused.code, refused.out) == (5, "")
        assert "--stop-command" in refused.err
    with pytest.raises(OwnedByAnother):
        force_close_session(1, database_url=night.url)
    assert night.everything() == before
    closed = night(*CLOSE, "--process-stopped", "--json").json
    assert closed["status"] == "disconnected"
    assert night.json("stats", BUFFERS)["bad_mac_errors"] == 0
    operation = night(*CLOSE, "--logout", "--process-stopped", "--json").json["operation"]
    assert f"wa-sessions restore {operation}," in _next(night("stats", BUFFERS)), "an id that is known is printed"


STOPS = [
    ("no-such-pm2 stop x", "true", 1, "", ("nothing was changed", "no-such-pm2", "PATH")),
    ("exit 3", "true", 1, "", ("nothing was changed", "exit 3", "the Node process was started again")),
    ("exit 3", "exit 4", 1, "", ("nothing was changed", "THE NODE PROCESS MAY BE DOWN", "exit 4")),
    ("true", "exit 4", 1, "undo: wa-sessions restore op-", ("THE NODE PROCESS IS DOWN", "exit 4")),
    ("true", "no-such-pm2 start x", 1, "undo: wa-sessions restore op-", ("THE NODE PROCESS IS DOWN", "PATH")),
    (
        "sleep 30",
        "true",
        1,
        "",
        ("nothing was changed", "did not end within 3 s", "the Node process was started again"),
    ),
    ("true", "sleep 30", 1, "undo: wa-sessions restore op-", ("THE NODE PROCESS MAY BE DOWN", "left running")),
    ("true", "true", 0, "undo: wa-sessions restore op-", ()),
]


@pytest.mark.parametrize(("stop", "start", "code", "shown", "told"), STOPS)
def test_what_became_of_the_process_and_of_the_change_is_told(
    night: Night, stop: str, start: str, code: int, shown: str, told: tuple[str, ...]
) -> None:
    before = night.everything()
    node = ("--stop-command", stop, "--start-command", start)
    done = night(*CLEAN, *node, WA_SESSIONS_NODE_TIMEOUT="3")
    assert (done.code, shown in done.out) == (code, True), done.err
    assert all(words in done.err for words in told), done.err
    assert (night.everything() == before) is (not shown)
    if undo := re.search(r"^undo: wa-sessions (restore op-\S+)$", done.out, re.MULTILINE):
        back = night(*undo[1].split(), *node, WA_SESSIONS_NODE_TIMEOUT="3")
        assert (back.code, "5 keys" in back.out) == (code, True), back.err


def test_only_a_status_that_is_known_to_mean_stopped_lets_a_phone_be_changed(night: Night, tmp_path: Path) -> None:
    operation = night.json(*CLEAN, "--process-stopped")["operation"]
    file = str(tmp_path / "phone.age")
    guarded = (
        *(CLOSE, (*CLOSE, "--logout"), ("clean-sessions", BUFFERS, "--yes"), ("restore", operation)),
        *(("adopt", BUFFERS, "--yes"), ("assign", BUFFERS, "neonize")),
        ("export", BUFFERS, file, "--no-encryption", "--yes"),
    )
    for n, status in enumerate((*UP[1:], *STRANGE)):
        night.sql("""UPDATE public."OrganizationPhone" SET status = %s WHERE id = 1""", status)
        before = night.everything()
        for refused in night.each(*(guarded if n == 0 else guarded[n - 1 : n + 1])):
            assert (refused.code, refused.out) == (5, ""), (status, refused)
        with pytest.raises(OwnedByAnother):
            force_close_session(1, logout=True, database_url=night.url)
        assert night.everything() == before
    for status in DOWN:
        night.sql("""UPDATE public."OrganizationPhone" SET status = %s WHERE id = 1""", status)
        assert night("clean-sessions", BUFFERS, "--yes").code == 0


def test_advice_of_every_state_is_a_command_that_works(night: Night, tmp_path: Path) -> None:
    """``stats`` said "all is well" beside a phone that was down, and sent people to commands that refuse."""
    (tmp_path / "logs").mkdir()
    for stream in ("out", "error"):
        (tmp_path / f"logs/NAME-{stream}.log").write_text("")
    states = [(status, read) for status in (*UP, *DOWN, "open", "CONNECTED") for read in (False, True)]
    night.sql("""DELETE FROM public."OrganizationPhone" WHERE "connectionType" = 'baileys' AND id NOT IN (13)""")
    for n, (status, read) in enumerate(states):
        night.sql(
            """INSERT INTO public."OrganizationPhone" ("id", "organizationId", "phoneJid", "status", "updatedAt")
               VALUES (%s, 1, %s, %s, now())""",
            *(100 + n, f"{79000000000 + n}@s.whatsapp.net", status),
        )
        if read:
            night.sql("INSERT INTO wa_sessions.log_watch (phone_id, read_at) VALUES (%s, now())", 100 + n)
    judged = {one["phone"]: one["verdict"] for one in night("check", "--all", "--json").data["phones"]}
    cards = night.each(*(("stats", str(79000000000 + n)) for n in range(len(states))), ("stats", PENDING))
    for (status, read), card in zip(states, cards, strict=False):
        healthy = read and status in ("connected", "CONNECTED")
        settled = read and status in (*UP, "CONNECTED")
        verdict = "CRITICAL" if status == "logged_out" else "OK" if settled else "UNKNOWN"
        assert judged[card.out.split()[0]] == verdict, card.out
        assert bool(_next(card)) is not healthy, card.out
        assert "all is well" not in card.out
        if not healthy:
            assert "wa-sessions " in _next(card), card.out
    commands = {words for card in cards for words in re.findall(r"wa-sessions ([^,;:)]+)", _next(card))}
    assert f"qr {PENDING}" in commands, "a QR waits there"
    taken = [[word for word in shlex.split(words) if word != "--watch"] for words in sorted(commands)]
    assert not {words[0] for words in taken} & ONLY_OURS
    for words, ended in zip(taken, night.each(*map(tuple, taken), PM2_HOME=str(tmp_path)), strict=True):
        assert ended.code == 0 or words[0] == "qr", (words, ended.err)


def test_three_of_three_is_not_one_more(night: Night, tmp_path: Path) -> None:
    """Cause before effect too, where one of the lines has whole seconds; a close needed a QR."""
    moment = (datetime.now(UTC) - timedelta(minutes=5)).replace(microsecond=0)
    at, milliseconds = f"{moment:%Y-%m-%dT%H:%M:%SZ}", round(moment.timestamp() * 1000)
    error, out = tmp_path / "app-error.log", tmp_path / "app-out.log"
    out.write_text(f'{{"level":30,"time":{milliseconds},"msg":"synced regular to v5"}}\n')
    error.write_text(
        "".join(
            f'{{"level":40,"time":{milliseconds + 200 * n},"msg":"⚠️ Bad MAC error #{n} для {BUFFERS}@s.whatsapp.net"}}'
            "\n"
            for n in (1, 2, 3)
        )
    )
    night("logs", str(error), str(out), "--record")
    card, checked = night.each(("stats", BUFFERS), ("check", BUFFERS))
    assert "Bad MAC 3 of 3: the backend should have closed it" in _next(card)
    assert (checked.code, "the backend should have closed it" in checked.out) == (2, True)
    assert "next error" not in card.out + checked.out
    with out.open("a") as log:
        log.write(f"{at}: 🚪 Закрытие сессии для {BUFFERS}@s.whatsapp.net. Причина: Слишком много ошибок Bad MAC\n")
        log.write(f"{at}: 🔄 Счетчики ошибок сброшены для organizationPhoneId: 1\n")
    night("logs", str(error), str(out), "--record")
    story, report, card, checked = night.each(
        ("timeline", BUFFERS, "--json"), ("report", BUFFERS, "--json"), ("stats", BUFFERS), ("check", BUFFERS)
    )
    kinds = [entry["kind"] for entry in story.json["entries"]]
    assert kinds == ["error_counted"] * 3 + ["session_closed", "counter_reset"]
    [phone] = report.json["phones"]
    assert (phone["closes"]["bad_mac"], phone["pairings"]["needed"]) == (1, 1)
    assert "the backend closed it, as its log says" in _next(card)
    assert checked.code == 2


TYPED = ["77051234568", "770512345678", "7051234567", "77051243567", "+7 (0) 705 123 45 67"]


def test_a_number_that_is_not_there_is_answered_with_the_nearest(night: Night) -> None:
    commands = [("stats", typed) for typed in TYPED] + [(verb, TYPED[1]) for verb in ("keys", "force-close", "qr")]
    for command, refused in zip(commands, night.each(*commands), strict=True):
        assert refused.code == 3, command
        assert refused.err.index(BUFFERS) < refused.err.index("add"), command
    stranger = night("stats", "4915112345678")
    assert (stranger.code, "did you mean" in stranger.err) == (3, False)


SPELT = [
    ("5511987654321", "551187654321"),
    ("551187654322", "5511987654322"),
    ("5215512345678", "+52 55 1234 5678"),
    ("541123456789", "+54 9 11 2345-6789"),
]

SPELT_LONG, SPELT_SHORT = "5521987654321", "552187654321"


def test_two_spellings_of_one_account_are_one_phone(night: Night) -> None:
    added = night.each(*(("add", row, "--org", "1", "--json") for row, _ in SPELT))
    found = night.each(*(("stats", typed, "--json") for _, typed in SPELT))
    again = night.each(*(("add", typed, "--org", "2") for _, typed in SPELT))
    for (row, _), one, stats, refused in zip(SPELT, added, found, again, strict=True):
        assert (one.json["phone"], stats.json["phone"], refused.code) == (row, row, 2)
        assert row in refused.err
    night.sql(
        "INSERT INTO public.baileys_auth VALUES (1, %s, %s, 'e30=', 'base64_json')",
        *(BUFFERS, "session-551187654321.0"),
    )
    night.sql(
        """UPDATE public."OrganizationPhone" SET "phoneJid" = %s, status = 'disconnected' WHERE id = 3""",
        f"{SPELT_LONG}@s.whatsapp.net",
    )
    night.sql("""UPDATE public.baileys_auth SET "phoneJid" = %s WHERE "phoneJid" = %s""", SPELT_LONG, PAIRED)
    creds = """SELECT "value" FROM public.baileys_auth WHERE "phoneJid" = %s AND "key" = 'creds'"""
    value = base64.b64decode(night.sql(creds, SPELT_LONG)[0]["value"]).replace(PAIRED.encode(), SPELT_SHORT.encode())
    night.sql(
        """UPDATE public.baileys_auth SET "value" = %s WHERE "phoneJid" = %s AND "key" = 'creds'""",
        *(base64.b64encode(value).decode(), SPELT_LONG),
    )
    [adopted] = night.json("adopt", SPELT_LONG, "--yes")["phones"]
    assert adopted["device"].startswith(f"{SPELT_SHORT}:"), "its row has a ninth digit, its account none"
    peer = night.json("clean-sessions", BUFFERS, "--peer", "5511987654321", "--dry-run", "--process-stopped")
    assert peer["by_type"] == {"session": 1}


NAME = "a name that is too long to be shown whole at eighty columns"


def test_tables_are_whole_in_a_pipe_and_fit_a_terminal(night: Night, tmp_path: Path) -> None:
    night.sql("""UPDATE public."OrganizationPhone" SET "displayName" = %s""", NAME)
    log = tmp_path / "app.log"
    log.write_text(f"⚠️ Bad MAC error #1 для {BUFFERS}@s.whatsapp.net\n")
    for command in (("sessions",), ("logs", str(log))):
        piped, eighty, fifty = (
            *night.each(command),
            *night.each(command, COLUMNS="80"),
            *night.each(command, COLUMNS="50"),
        )
        assert NAME in piped.out
        assert "…" not in piped.out.partition("\n\n")[0]
        for shown, columns in ((eighty, 80), (fifty, 50)):
            header, *rows = shown.out.partition("\n\n")[0].splitlines()
            assert max(map(len, (header, *rows))) <= columns
            assert "NAME" in header, "names are the last to go"
            assert any(BUFFERS in row for row in rows)
        assert len(fifty.out.splitlines()[0].split()) < len(eighty.out.splitlines()[0].split())
    screen = Terminal({"WA_SESSIONS_DATABASE_URL": night.url, "NO_COLOR": "1"}).on_screen(24, 80, "sessions")
    assert max(map(len, screen.out.partition("\n\n")[0].splitlines())) <= 80


def test_the_worst_of_three_hundred_come_first_and_are_counted(night: Night) -> None:
    night.sql(
        """INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", "status", "updatedAt")
           SELECT 1, (79000000000 + n) || '@s.whatsapp.net', 'connected', now() FROM generate_series(1, 300) AS n"""
    )
    night.sql("INSERT INTO wa_sessions.log_watch (phone_id, read_at) VALUES (7, now())")
    shown = night("sessions").out
    table, _, below = shown.partition("\n\n")
    rows = [row.split() for row in table.splitlines()[1:]]
    assert {rows[0][0], rows[1][0]} == {LOGGED_OUT, PENDING}
    assert rows[-1][0] == SEVENTH
    assert below.splitlines()[0] == "307 phones: 2 down, 304 unknown, 1 ok (times are UTC)"
    assert all(re.search("\u2013  +\u2013 ", row) for row in table.splitlines()[1:-1]), "nobody observes their counters"
    assert "wa-sessions logs --pm2 NAME --record" in below


def test_unhealthy_means_what_the_key_u_of_top_means(night: Night) -> None:
    for phone_id, errors in ((1, 2), (3, 1), (7, 0)):
        night.sql("INSERT INTO wa_sessions.log_watch (phone_id, read_at) VALUES (%s, now())", phone_id)
        night.sql(
            """INSERT INTO wa_sessions.health (phone_id, organization_id, bad_mac_errors, bad_decrypt_errors,
                   counted_senders, messages_recovered, messages_lost, state, state_since, max_bad_mac,
                   max_bad_decrypt, version, updated_at)
               VALUES (%s, 1, %s, 0, '{}', 0, 0, 'idle', now(), 3, 5, 0, now())""",
            *(phone_id, errors),
        )
    listed = {one["phone"] for one in night.json("sessions", "--unhealthy")["sessions"]}
    assert listed == {LOGGED_OUT, PENDING, BUFFERS, PAIRED}
    kept = {name: value for name, value in night.terminal.environment.items() if name not in ("COLUMNS", "LINES")}
    with Screen([PROGRAM, "top"], kept | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}) as screen:
        screen.wait(SEVENTH)
        screen.type("u")
        lines = screen.wait(lambda lines: not any(SEVENTH in line for line in lines))
        screen.type("q")
        assert screen.ended() == 0
    assert {words[0] for line in lines[3:] if (words := line.split()) and words[0].isdigit()} >= listed


def test_one_time_zone_everywhere_and_it_is_named(night: Night, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(
        f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}T22:30:00Z: ⚠️ Bad MAC error #1 для {BUFFERS}@s.whatsapp.net\n"
    )
    night("logs", str(log), "--record")
    night.json(*CLEAN, "--process-stopped")
    night.sql(
        """UPDATE public."OrganizationPhone" SET "lastConnectedAt" = date_trunc('day', now()) - interval '90 min'"""
    )
    for table in ("operation", "event"):
        night.sql(f"UPDATE wa_sessions.{table} SET at = date_trunc('day', now()) - interval '90 min'")
    commands = (
        ("sessions",),
        ("stats", BUFFERS),
        ("operations",),
        ("timeline", BUFFERS),
        ("errors",),
        ("logs", str(log)),
    )
    for command, shown in zip(commands, night.each(*commands, TZ="Asia/Almaty"), strict=True):
        assert shown.code == 0
        assert "22:30" in shown.out, command
        assert "UTC" in shown.out, command


def test_a_qr_is_drawn_small_where_it_fits_so_and_says_what_it_needs_elsewhere(night: Night) -> None:
    small = night.terminal.on_screen(10, 80, "qr", PENDING)
    needed = re.search(
        r"this QR needs (\d+) lines and (\d+) columns, and the terminal has 10 and 80", _unwrapped(small)
    )
    assert needed, small.out
    lines, columns = int(needed[1]), int(needed[2])
    fits = night.terminal.on_screen(lines, columns, "qr", PENDING)
    assert "needs" not in fits.out
    drawn = fits.out.partition("\n")[2].partition("wa-sessions: ")[0].splitlines()
    assert len(drawn) == lines - 2
    assert set("▀▄█") & set("".join(drawn)), "two modules stand in a character"


# ------------------------------------------------------------------------- 4. tables and settings in other shapes

SHAPES = {
    "text organizations": """
        ALTER TABLE public."OrganizationPhone" ALTER "organizationId" TYPE text;
        ALTER TABLE public.baileys_auth ALTER "organizationId" TYPE text""",
    "no jid": """
        ALTER TABLE public."OrganizationPhone" ALTER "phoneJid" DROP NOT NULL;
        UPDATE public."OrganizationPhone" SET "phoneJid" = NULL WHERE id = 13""",
    "json values": r"""
        DELETE FROM public.baileys_auth
            WHERE type = 'buffer' OR convert_from(decode(value, 'base64'), 'utf8') ~ '\\u0000';
        ALTER TABLE public.baileys_auth ALTER value TYPE jsonb USING
            convert_from(decode(value, 'base64'), 'utf8')::jsonb""",
    "an enum of types": """
        CREATE TYPE "ConnectionType" AS ENUM ('baileys', 'waba');
        ALTER TABLE public."OrganizationPhone" ALTER "connectionType" DROP DEFAULT,
            ALTER "connectionType" TYPE "ConnectionType" USING "connectionType"::"ConnectionType"
        """,
    "capitals": """UPDATE public."OrganizationPhone" SET status = upper(status)""",
}
SAID = {
    "json values": ('"value" of "baileys_auth"', "jsonb", "text and bytea"),
    "an enum of types": ('"connectionType"', 'the enum "ConnectionType"', "neonize"),
}
REFUSED = {
    "json values": (("keys", PAIRED), ("adopt", PAIRED, "--yes", "--process-stopped")),
    "an enum of types": (("add", "77050001122", "--org", "3"), ("adopt", PAIRED, "--yes", "--process-stopped")),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_tables_of_another_shape_work_or_one_line_says_which(night: Night, tmp_path: Path, shape: str) -> None:
    night.sql(SHAPES[shape])
    log = tmp_path / "app.log"
    log.write_text(f"⚠️ Bad MAC error #1 для {PAIRED}@s.whatsapp.net\n")
    before = night.everything()
    for refused in night.each(*REFUSED.get(shape, ())):
        assert all(words in refused.err for words in SAID[shape]), refused.err
        assert (refused.code, refused.out, refused.err.count("\n")) == (4, "", 1)
    assert night.everything() == before
    listed, *others = night.each(
        *(("sessions", "--json"), ("logs", str(log), "--record"), ("check", "--all"), ("report",), ("metrics",))
    )
    for ended in (listed, *others):
        assert ended.code == (2 if ended.out.startswith("WA-SESSIONS CRITICAL") else 0), ended
        assert "internal error" not in ended.out + ended.err
    phones = {one["phone"] for one in listed.json["sessions"]}
    assert phones == {
        BUFFERS,
        PAIRED,
        SEVENTH,
        LOGGED_OUT,
        SEVENTH_PAIRED,
        WABA,
        "#13" if shape == "no jid" else PENDING,
    }
    if shape == "capitals":
        assert night(*CLOSE).code == 5
        assert len(night.json("sessions", "--status", "connected")["sessions"]) == 5


def test_settings_are_read_as_they_are_pasted(night: Night) -> None:
    elsewhere = Terminal({"WA_SESSIONS_DATA_DIR": "/nowhere/at/all"})
    url = night.url
    for pasted in (
        f"DATABASE_URL={url}",
        f'DATABASE_URL="{url}"',
        f"export DATABASE_URL='{url}';",
        f"{url}&sslmode=no-verify",
    ):
        shown = elsewhere("sessions", "--json", DATABASE_URL=pasted)
        assert len(shown.json["sessions"]) == 7, pasted
    empty = elsewhere("sessions", DATABASE_URL="", WA_SESSIONS_DATABASE_URL=" ")
    assert (empty.code, "WA_SESSIONS_DATABASE_URL, DATABASE_URL are set, but empty" in empty.err) == (4, True)


def test_without_a_terminal_no_embedded_database_is_taken_unless_it_is_named(server: EmbeddedServer) -> None:
    """The folder that is this machine's is another one here; all else is the command as it is installed."""
    program = (
        "import pathlib, sys; from wa_sessions.db import embedded; from wa_sessions.cli import main; "
        f"embedded.default_data_dir = lambda: pathlib.Path({str(server.data_dir)!r}); main()"
    )
    told = f"the database is the embedded one in {server.data_dir}"
    nothing = Terminal({}, sys.executable, "-c", program)
    refused = nothing("db", "status")
    assert (refused.code, refused.out) == (4, "")
    for words in ("not taken without a terminal unless it is named", "--database-url embedded", str(server.data_dir)):
        assert words in refused.err
    named = nothing("db", "status", "--database-url", "embedded")
    assert (named.code, told in named.err) == (0, True)
    assert told in Terminal({"WA_SESSIONS_DATA_DIR": str(server.data_dir)})("db", "status").err
    seen = nothing.typing("", "db", "status")
    assert (seen.code, told in seen.err) == (0, True)
