"""The settings of a process of its own: what cron, a service and a shell make of the same files."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from wa_sessions.config.table import SETTINGS
from wa_sessions.db import backend, phones
from wa_sessions.db.gateway import Database

NUMBER = "77051234567"
SECRET = "geheim"
PROGRAM = """
import sys
from pathlib import Path
from wa_sessions.config import reading
reading.SYSTEM_FILE = Path(sys.argv.pop(1))
from wa_sessions.cli import main
main()
"""
"""The installed program, on a machine whose file for all users is another one than this machine's."""


@dataclass(slots=True)
class Machine:
    """A home with a config file, a file for all users, and an environment like cron's."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / "home" / ".config" / "wa-sessions" / "config.toml"

    @property
    def system(self) -> Path:
        return self.folder / "etc" / "config.toml"

    def write(self, content: str | bytes, *, mode: int = 0o600) -> None:
        self.file.write_bytes(content.encode() if isinstance(content, str) else content)
        self.file.chmod(mode)

    def __call__(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.defpath, "HOME": str(self.folder / "home")} | self.environment | variables
        command = [sys.executable, "-c", PROGRAM, str(self.system), *words]
        given = {name: value for name, value in environment.items() if value != "unset"}
        return subprocess.run(command, env=given, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)

    def shown(self, name: str, **variables: str) -> tuple[object, str]:
        done = self("config", "show", "--json", **variables)
        assert (done.returncode, done.stderr) == (0, "")
        rows = {row["name"]: (row["value"], row["origin"]) for row in json.loads(done.stdout)}
        assert rows.keys() == SETTINGS.keys()
        return rows[name]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.file.parent.mkdir(parents=True)
    made.system.parent.mkdir()
    return made


def _refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One clear line, nothing on stdout, and never the secret."""
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("wa-sessions: ")
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words)
    assert SECRET not in done.stderr


def test_a_file_is_all_that_cron_needs(machine: Machine, database: Database, database_url: str) -> None:
    with database.transaction() as conn:
        phones.add(conn, backend.detect(conn), NUMBER, 1)
    without = machine("sessions")
    assert (without.returncode, without.stdout) == (4, "")
    assert "write database_url into a config file" in without.stderr
    machine.write(f"[test]\ndatabase_url = '{database_url}'\n")
    assert NUMBER in machine("-P", "test", "sessions").stdout
    assert NUMBER in machine("sessions", "--profile", "test").stdout
    assert NUMBER in machine("sessions", WA_SESSIONS_PROFILE="test").stdout
    assert machine("-P", "test", "check", NUMBER).stdout.startswith("WA-SESSIONS CRITICAL")
    machine.write(f"database_url = '{database_url}'\n")
    for variables in ({}, {"WA_SESSIONS_DATABASE_URL": ""}, {"DATABASE_URL": " ", "TERM": "dumb"}):
        done = machine("sessions", **variables)
        assert (done.returncode, done.stderr) == (0, "")
        assert NUMBER in done.stdout
    machine.system.write_bytes(machine.file.read_bytes())
    machine.file.unlink()
    for home in ("unset", "", "/nowhere", "relative"):
        assert NUMBER in machine("sessions", HOME=home, XDG_CONFIG_HOME="relative").stdout
    taken = machine("db", "status", "--json", "--config", str(machine.system))
    assert json.loads(taken.stdout)["source"] == f"database_url in {machine.system}"


def test_what_runs_sees_the_limits_of_the_file(machine: Machine, database: Database, database_url: str) -> None:
    with database.transaction() as conn:
        phones.add(conn, backend.detect(conn), NUMBER, 1)
    machine.write(f"database_url = '{database_url}'\nmax_bad_mac = 7\n[careful]\nmax_bad_mac = 2\n")
    for words, expected in (((), 7), (("-P", "careful"), 2)):
        done = machine(*words, "stats", NUMBER, "--json")
        assert json.loads(done.stdout)["max_bad_mac_errors"] == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("max_bad_mac = 'seven'", ("max_bad_mac: it takes a number from 1 to 999, not text",)),
        ("max_bad_mc = 7", ("max_bad_mc: there is no such setting: did you mean max_bad_mac?",)),
        ("max_bad_mac = 7\nlease =", ("is no TOML", "at end of document")),
        ("max_bad_mc = 7\nleese = 8", ("(and 1 more: wa-sessions config check)",)),
        (b"\xff\xfem\x00", ("is UTF-16",)),
    ],
)
def test_a_file_that_is_wrong_stops_every_command(
    machine: Machine, content: str | bytes, words: tuple[str, ...]
) -> None:
    machine.write(content)
    for command in (("sessions",), ("config", "show"), ("clean-sessions", NUMBER, "--yes"), ("alerts", "test")):
        _refused(machine(*command), str(machine.file), *words)
    plugin = machine("check", "--all")
    assert (plugin.returncode, plugin.stderr) == (3, "")
    assert plugin.stdout.startswith("WA-SESSIONS UNKNOWN - ")
    assert machine("--help").returncode == machine("sessions", "--help").returncode == 0
    done = machine("config", "check")
    assert (done.returncode, done.stdout) == (2, "")
    assert str(machine.file) in done.stderr


def test_what_is_no_file_is_told(machine: Machine) -> None:
    _refused(machine("--config", str(machine.folder), "sessions"), "Is a directory")
    _refused(machine("sessions", WA_SESSIONS_CONFIG="/nowhere/c.toml"), "/nowhere/c.toml", "No such file")
    _refused(machine("config", "check", "/nowhere/c.toml"), "/nowhere/c.toml")
    _refused(machine("-P", "prod", "sessions"), "no config file is there", str(machine.file), str(machine.system))
    machine.file.mkdir()
    _refused(machine("sessions"), "Is a directory", f"--config {os.devnull} does without")
    assert machine("config", "show", "--config", os.devnull).returncode == 0


def test_the_file_that_is_checked_is_the_one_that_is_named(machine: Machine) -> None:
    nothing = machine("config", "check")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert f"there is no config file: {machine.file} or {machine.system}" in nothing.stderr
    machine.system.write_text("max_bad_mac = 'x'\n")
    machine.write("max_bad_mac = 7\n[prod]\nlease = '9s'\n")
    assert machine("config", "check").returncode == 2
    right = machine("config", "check", str(machine.file))
    assert (right.returncode, right.stdout) == (0, f"{machine.file} is right: 2 settings, profiles prod\n")
    assert machine("config", "check", WA_SESSIONS_CONFIG=str(machine.file)).stdout == right.stdout
    assert machine("--config", str(machine.file), "config", "check").stdout == right.stdout
    wrong = json.loads(machine("config", "check", "--json", WA_SESSIONS_CONFIG=str(machine.system)).stdout)
    assert [problem["key"] for problem in wrong["files"][0]["problems"]] == ["max_bad_mac"]


def test_a_password_that_others_can_read(machine: Machine) -> None:
    machine.write(f"database_url = 'postgresql://ops:{SECRET}@127.0.0.1:1/shop'\n", mode=0o644)
    checked = machine("config", "check")
    assert (checked.returncode, checked.stdout) == (2, "")
    assert f"{machine.file}: database_url: it is a secret" in checked.stderr
    tried = machine("sessions")
    assert tried.returncode == 4
    assert tried.stderr.count("every user of this machine can read it (mode 0644)") == 1
    shown = machine("config", "show")
    assert (shown.returncode, "postgresql://ops:***@127.0.0.1:1/shop" in shown.stdout) == (0, True)
    assert SECRET not in "".join(done.stdout + done.stderr for done in (checked, tried, shown))
    machine.write(machine.file.read_text(), mode=0o600)
    assert machine("config", "check").returncode == 0


def test_a_file_that_everybody_can_write_is_not_obeyed(machine: Machine) -> None:
    machine.write("stop_command = 'true'\n", mode=0o666)
    _refused(machine("sessions"), "every user of this machine can write to it")


def test_secrets_in_files_of_their_own(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"123:{SECRET}\r\n\n")
    (tmp_path / "database_url").write_text(f"postgresql://ops:{SECRET}@db/shop\n")
    (tmp_path / "empty").write_text("\n")
    name = "WA_SESSIONS_ALERT_TELEGRAM_TOKEN_FILE"
    assert machine.shown("alert_telegram_token", **{name: str(tmp_path / "token")}) == ("***", f"env {name}")
    credential = machine.shown("database_url", CREDENTIALS_DIRECTORY=str(tmp_path))
    assert credential == ("postgresql://ops:***@db/shop", str(tmp_path / "database_url"))
    own = machine.shown("database_url", WA_SESSIONS_DATABASE_URL_FILE=str(tmp_path / "database_url"))
    assert own == ("postgresql://ops:***@db/shop", "env WA_SESSIONS_DATABASE_URL_FILE")
    assert machine.shown("database_url", WA_SESSIONS_DATABASE_URL_FILE="") == (None, "default")
    _refused(machine("config", "show", **{name: str(tmp_path / "empty")}), name, "is empty")
    _refused(machine("config", "show", **{name: str(tmp_path / "none")}), name, "No such file")
    _refused(machine("config", "show", **{name: str(tmp_path)}), name, "Is a directory")


def test_the_origin_of_each_value(machine: Machine) -> None:
    machine.write(b"\xef\xbb\xbfmax_bad_decrypt = 9\r\n")
    assert machine.shown("max_bad_decrypt") == (9, str(machine.file))
    assert machine.shown("max_bad_decrypt", WA_SESSIONS_MAX_BAD_DECRYPT="8") == (8, "env WA_SESSIONS_MAX_BAD_DECRYPT")
    assert machine.shown("max_bad_mac") == (3, "default")
    assert machine.shown("database_url", PGHOST="db", PGUSER="ops") == ("postgresql://ops@db:5432", "env PGHOST")
    done = machine("config", "show", "max_bad_decrypt", "lease", "--max-bad-decrypt", "7", "-o", "tsv")
    assert done.stdout == "name\tvalue\torigin\nmax_bad_decrypt\t7\tflag\nlease\t5s\tdefault\n"
