"""More bad input than is worth a process each: the same entry point, called in this one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.fleet import Fleet
from support.waiting import PATIENCE

from wa_sessions import cli
from wa_sessions.db import backend, phones
from wa_sessions.db.gateway import Database

ALICE, BOB = "77051234567", "77057654321"


LONG = "a" * 70
BAD_INPUT: list[tuple[list[str], int, str]] = [
    (["force-close", BOB, "--yes"], 3, "wa-sessions add"),
    (["stats", "#999"], 3, "#999"),
    (["stats", "#999999999999"], 3, "#999999999999"),
    (["stats", ALICE, "--org", "99999999999"], 3, "organization 99999999999"),
    (["sessions", "--org", "99999999999"], 2, "cannot hold"),
    (["sessions", "--status", "fine"], 2, "logged_out"),
    (["add", "#5", "--org", "1"], 2, "takes a number"),
    (["add", ALICE, "--org", "1"], 2, "already phone"),
    (["add", BOB, "--org", "99999999999"], 2, "cannot hold"),
    (["add", BOB, "--org", "1", "--name", "a\0b"], 2, "cannot hold"),
    (["add", BOB, "--org", "1", "--name", "\udcff"], 2, "cannot hold"),
    (["add", BOB, "--org", "1", "--name", "x" * 201], 2, "201 characters"),
    (["add", "77\0051234567", "--org", "1"], 2, "no phone"),
    (["assign", ALICE, "waba"], 2, "neonize or baileys"),
    (["restore", "a\0b"], 2, "cannot hold"),
    (["restore", "\udcff"], 2, "cannot hold"),
    (["restore", " "], 2, "which operation"),
    (["run", ALICE, "--on-message", "nonsense"], 2, "module:function"),
    (["run", ALICE, "--on-message", "no.such:thing"], 2, "no.such"),
    (["run", ALICE, "--on-message", "wa_sessions.cli:absent"], 2, "absent"),
    (["run", ALICE, "--on-message-exec", "no-such-program x"], 2, "no-such-program"),
    (["run", ALICE, "--on-message-exec", "'open"], 2, "--on-message-exec"),
    (["run", ALICE, "--on-message-exec", " "], 2, "--on-message-exec"),
    (["run", ALICE, "--on-message", "a:b", "--on-message-exec", "true"], 2, "exclude"),
    (["run", ALICE, "--store-url", "mysql://x"], 4, "postgres://"),
    (["run", ALICE, "--metrics-listen", f"{LONG}:9464"], 2, "is no address"),
    (["sessions", "--database-url", f"postgresql://u:p@{LONG}/x"], 4, "no host can have such a name"),
    (["sessions", "--database-url", "host=a..b dbname=x"], 4, "no host can have such a name"),
    (["restart", ALICE], 1, f"wa-sessions run {ALICE}"),
    (["relink", ALICE], 1, f"wa-sessions run {ALICE}"),
    (["send", ALICE, "#3", "hi"], 2, "group"),
    (["send", ALICE, "somebody", "hi"], 2, "'somebody'"),
    (["send", ALICE, BOB, " "], 2, "empty"),
    (["send", ALICE, BOB, "a\0b"], 2, "NUL"),
    (["send", ALICE, BOB, "x" * 65537], 2, "65537"),
]


def test_bad_input(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All on one database, as none of them changes anything."""
    monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", database_url)
    with database.transaction() as conn:
        phones.add(conn, backend.detect(conn), ALICE, 1)
    wrong = []
    for arguments, code, words in BAD_INPUT:
        ended = cli.execute(arguments)
        out, err = capsys.readouterr()
        one_line = err.startswith("wa-sessions: ") and err.count("\n") == 1
        if (ended, out) != (code, "") or words not in err or not one_line:
            wrong.append(f"{arguments}: {ended}, {out!r}, {err!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"WEBHOOK_URL": f"http://{LONG}.example/x"}, "WA_SESSIONS_ALERT_WEBHOOK_URL is no http"),
        ({"WEBHOOK_URL": "http://a..b/x"}, "WA_SESSIONS_ALERT_WEBHOOK_URL is no http"),
        ({"WEBHOOK_URL": "http://a/\udcff"}, "WA_SESSIONS_ALERT_WEBHOOK_URL holds bytes that are no UTF-8"),
        ({"WEBHOOK_URL": "http://a/", "WEBHOOK_SECRET": "\udcff"}, "WA_SESSIONS_ALERT_WEBHOOK_SECRET holds bytes"),
        ({"TELEGRAM_TOKEN": "1:a", "TELEGRAM_CHAT": "\udcff"}, "WA_SESSIONS_ALERT_TELEGRAM_CHAT holds bytes"),
        ({"SMTP_URL": f"smtp://{LONG}", "EMAIL_FROM": "a@b.c", "EMAIL_TO": "a@b.c"}, "is no URL of a mail server"),
    ],
)
def test_bad_settings_of_alerts(
    settings: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"WA_SESSIONS_ALERT_{name}", value)
    assert cli.execute(["alerts", "test"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "koi8-r", "latin-1", "utf-16"])
@pytest.mark.parametrize("output", ["table", "json", "tsv"])
def test_a_terminal_that_lacks_letters(database: Database, database_url: str, encoding: str, output: str) -> None:
    with database.transaction() as conn:
        phones.add(conn, backend.detect(conn), ALICE, 1, "Приёмная café 受付")
    command = [sys.executable, "-m", "wa_sessions", "sessions", "-o", output, "--database-url", database_url]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert ALICE in (shown := done.stdout.decode(encoding))
    if output == "json":
        assert json.loads(shown)["sessions"][0]["display_name"] == "Приёмная café 受付"


def test_no_core_dump_is_left(fleet: Fleet, tmp_path: Path) -> None:
    """Of what a command starts either: it would hold keys."""
    limits = tmp_path / "limits"
    words = ["clean-sessions", "77051234567", "--yes", "--stop-command", f"cat /proc/self/limits >{limits}"]
    command = [sys.executable, "-m", "wa_sessions", *words, "--start-command", "true", "--database-url", fleet.url]
    assert subprocess.run(command, capture_output=True, timeout=PATIENCE).returncode == 0
    (line,) = [line for line in limits.read_text().splitlines() if line.startswith("Max core file size")]
    assert line.split()[4:6] == ["1", "1"]


def test_a_password_in_the_command_line_is_warned_of_once(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = fleet.url
    assert fleet("sessions").err == ""
    fleet.url = plain.replace("postgres@", "postgres:geheim@")
    shown = fleet("sessions", "--json")
    assert shown.json["sessions"]
    assert shown.err.startswith("wa-sessions: everybody on this machine can read the password in --database-url (ps)")
    assert "WA_SESSIONS_DATABASE_URL" in shown.err
    assert "pgpass" in shown.err
    assert "geheim" not in shown.err
    assert shown.err.count("\n") == 1
    monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", fleet.url)
    assert cli.execute(["sessions"]) == 0
    assert capsys.readouterr().err == ""
