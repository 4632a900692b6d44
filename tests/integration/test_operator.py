"""The actor of the history is whom the operating system knows."""

import os
import pwd
import subprocess
import sys

import pytest
from support.fleet import Fleet
from support.waiting import PATIENCE

PROGRAM = "from wa_sessions.actions.operator import operator; print(operator())"


def test_the_environment_decides_nothing(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER", "SUDO_UID"):
        monkeypatch.setenv(name, "ceo")
    fleet.json("force-close", "77051234567", "--yes", "--process-stopped")
    (event,) = fleet.sql("SELECT detail ->> 'actor' AS actor FROM wa_sessions.event WHERE kind = 'force_closed'")
    assert event["actor"].startswith(f"{pwd.getpwuid(os.getuid()).pw_name}@")
    assert "ceo" not in event["actor"]


@pytest.mark.root
def test_behind_root_stands_who_logged_in() -> None:
    name = pwd.getpwall()[1]
    login = f"open('/proc/self/loginuid', 'w').write('{name.pw_uid}'); "
    assert _said(login + PROGRAM).endswith(f" (login: {name.pw_name})")
    assert _said(login + f"import os; os.setuid({name.pw_uid}); " + PROGRAM).startswith(f"{name.pw_name}@")


@pytest.mark.root
def test_a_user_without_a_name_is_a_number() -> None:
    assert _said("import os; os.setuid(54321); " + PROGRAM).startswith("54321@")


def _said(program: str) -> str:
    preloaded = "import wa_sessions.actions.operator; "  # an ordinary user may not enter this folder
    command = [sys.executable, "-c", preloaded + program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout.strip()
