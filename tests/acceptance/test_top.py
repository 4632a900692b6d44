"""``top`` on a real terminal: what stands on the screen, and how it ends."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo
from support import sample_fleet
from support.databases import EMPTY
from support.screen import Screen
from support.terminal import PROGRAM, Terminal
from support.waiting import PATIENCE

from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target

EXPECTED = """\
9 phones  2 down   1 critical   2 warning   2 unknown   2 ok        TI:ME:NO UTC
errors/min ▁▁▁▁▃▁▁▃▃▁▆▁▃▃█  3 in the last, 14 in 30 min                by health
PHONE        NAME      STATUS       HEALTH   MAC DEC P/L   ERR/MIN    LAST ERR
77471239876  2 Delive… pairing exp… down     0/3 0/5 0/0   ▁▁▁▁▁▃▁▁▁▁ MAC 12m
998901234567 3 Tashke… no worker    down     -   -   -
77051234567  1 Recept… connected    critical 2/3 0/5 0/1   ▁▁▁▁▁▁▃▆▁▃ MAC 1m
79269876543  2 東京支… connected    warning  1/3 0/5 0/0   ▁▁▁▁▁▁▁▁▁█ MAC Ns
77017654321  1 Отдел…  connected    warning  0/3 1/5 0/0   ▁▁▃▃▁▁▁▁▃▁ DEC 4m
77001112233  3 Front…  connected    unknown  -   -   -
77009998877  3 Suppor… connected    unknown  -   -   -
77021112233  1 Wareho… connected    ok       0/3 0/5 0/0   ▁▁▁▁▁▁▁▁▁▁
77077778899  2 Kiosk…  reconnecting ok       0/3 0/5 0/0   ▁▁▁▁▁▁▁▁▁▁






────────────────────────────────────────────────────────────────────────────────
77471239876  Delivery  organization 2, neonize
next: nobody scanned the QR; show a new one: wa-sessions relink 77471239876
pairing expired, 50 min ago; status logged_out; last error Bad MAC 12 min ago;
worker msg1/4711
Enter history s sort / filter u unhealthy r relink c close ? help q quit"""
"""The worst stands first, and what to do about it below; figures of seconds are masked."""


@pytest.fixture
def environment(database: Database, database_url: str) -> dict[str, str]:
    with database.transaction() as conn:
        sample_fleet.make(conn)
    return _environment(database_url)


def _environment(url: str, **more: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM", "COLUMNS", "LINES")
    }
    return kept | {"WA_SESSIONS_DATABASE_URL": url, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | more


def _masked(lines: list[str]) -> str:
    text = "\n".join(lines).rstrip("\n")
    return re.sub(r"\d\d:\d\d:\d\d UTC", "TI:ME:NO UTC", re.sub(r"\b\d+s\b", "Ns", text))


def test_the_fleet_at_a_glance(environment: dict[str, str]) -> None:
    with Screen([PROGRAM, "top"], environment) as screen:
        assert _masked(screen.wait("worker msg1/4711")) == EXPECTED
        screen.resize(120, 30)
        wide = screen.wait("WORKER")
        assert any(re.search(r"77051234567 +1 Reception +neonize +connected .* msg1/4711$", line) for line in wide)
        screen.type("q")
        assert screen.ended() == 0
    assert screen.raw.index(b"\x1b[?1049h") < screen.raw.rindex(b"\x1b[?1049l") < screen.raw.rindex(b"\x1b[?25h")
    assert b"\x1b[?1000h" not in screen.raw, "the mouse stays the terminal's, so that text can be copied"


@pytest.mark.program("tmux")
def test_in_tmux(environment: dict[str, str], tmp_path: Path) -> None:
    tmux = ["tmux", "-f", os.devnull, "-S", str(tmp_path / "tmux")]

    def told(*words: str) -> str:
        done = subprocess.run(
            [*tmux, *words], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        return done.stdout

    code = tmp_path / "code"
    command = (
        f"{shlex.quote(str(PROGRAM))} top; echo $? > {shlex.quote(str(code))}; tmux -S {tmp_path}/tmux wait -S ended"
    )
    told("new-session", "-d", "-x", "80", "-y", "24", command)
    deadline = time.monotonic() + PATIENCE
    while "worker msg1/4711" not in (shown := told("capture-pane", "-p")):
        assert time.monotonic() < deadline, shown
    assert _masked([line.rstrip() for line in shown.splitlines()]) == EXPECTED
    told("send-keys", "C-c")
    told("wait", "ended")
    assert code.read_text(encoding="utf-8") == "130\n"


@pytest.mark.parametrize(("how", "code"), [("q", 0), ("\x03", 130), (signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_while_the_database_is_silent(
    environment: dict[str, str], database: Database, how: str | signal.Signals, code: int
) -> None:
    with database.transaction() as conn:
        conn.execute('LOCK TABLE public."OrganizationPhone"')
        with Screen([PROGRAM, "top"], environment) as screen:
            screen.wait("reading the fleet")
            if isinstance(how, str):
                screen.type(how)
            else:
                screen.process.send_signal(how)
            assert screen.ended() == code


def test_a_database_that_goes_away_and_comes_back(own_server: EmbeddedServer, own_server_url: str) -> None:
    target = Target(make_conninfo(own_server.conninfo(), dbname=EMPTY.name), None, "test")
    with Database.open(target) as database, database.transaction() as conn:
        sample_fleet.make(conn)
    with Screen([PROGRAM, "top"], _environment(own_server_url)) as screen:
        screen.wait("worker msg1/4711")
        own_server.stop()
        assert any("77051234567" in line for line in screen.wait("no database; shown is "))
        own_server.ensure_running()
        screen.wait("errors/min")
        screen.type("q")
        assert screen.ended() == 0


def test_no_color(environment: dict[str, str]) -> None:
    with Screen([PROGRAM, "top"], environment | {"NO_COLOR": "1"}) as screen:
        screen.wait("worker msg1/4711")
        screen.type("q")
        assert screen.ended() == 0
    styles = {part for found in re.findall(rb"\x1b\[([0-9;]*)m", screen.raw) for part in found.split(b";")}
    assert {b"1", b"7"} <= styles, "bold, and reverse for the cursor"
    assert not styles & {str(code).encode() for code in (*range(30, 39), *range(40, 49), *range(90, 108))}


def test_without_a_terminal_that_can_be_drawn_on(environment: dict[str, str]) -> None:
    told = "wa-sessions: top needs a terminal; for pipes and files: wa-sessions sessions\n"
    done = Terminal(environment)("top")
    assert (done.code, done.out, done.err) == (2, "", told)
    with Screen([PROGRAM, "top"], environment | {"TERM": "dumb"}) as screen:
        assert screen.ended() == 2
        screen.wait("wa-sessions sessions")


def test_without_textual(environment: dict[str, str]) -> None:
    program = "import sys; sys.modules['textual'] = None; from wa_sessions.cli import main; main()"
    with Screen([sys.executable, "-c", program, "top"], environment) as screen:
        screen.wait("pip install 'wa-sessions[top]'")
        assert screen.ended() == 1


def test_without_a_database(environment: dict[str, str]) -> None:
    with Screen([PROGRAM, "top", "--database-url", "postgresql://127.0.0.1:1/x"], environment) as screen:
        screen.wait("wa-sessions: postgresql://127.0.0.1:1/x: ")
        assert screen.ended() == 4
