"""The Tab key without a database: real shells run the script that the program prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import PATIENCE

from wa_sessions import cli
from wa_sessions.cli.commands import COMMANDS
from wa_sessions.cli.setup.suggest import answer, reached
from wa_sessions.health.reconnect import Status

PROGRAM = Path(sys.executable).with_name("wa-sessions")
Capture = pytest.CaptureFixture[str]

BASH = """
compopt() { printf 'files: compopt %s\\n' "$*"; }
eval "$(wa-sessions completion bash)"
COMP_WORDS=(wa-sessions "$@"); COMP_CWORD=$#
complete -p wa-sessions >/dev/null && _wa_sessions wa-sessions
((${#COMPREPLY[@]})) && printf '%s\\n' "${COMPREPLY[@]}"; true
"""
ZSH = """
compdef() { }
_describe() { print -l -- "${(@P)${@[-1]}}" }
_files() { print FILES }
eval "$(wa-sessions completion zsh)"
words=(wa-sessions "$@"); CURRENT=$#words
_wa_sessions
"""
FISH = 'wa-sessions completion fish | source; complete --do-complete "wa-sessions $argv"'


def _shell(tmp_path: Path, *command: str) -> list[str]:
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "HOME": str(tmp_path), "WA_SESSIONS_DATA_DIR": str(tmp_path / "none")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def _words(lines: str) -> list[str]:
    return [line.partition("\t")[0] for line in lines.splitlines()]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["rest"], ["restart", "restore"]),
        (["sessions", "--status", "=", "log"], ["logged_out"]),
        (["stats", "--js"], ["--json"]),
        (["qr", "7", "--png", "/tmp/x"], ["files: compopt -o default"]),
    ],
)
def test_bash(tmp_path: Path, typed: list[str], offered: list[str]) -> None:
    assert _shell(tmp_path, "bash", "--norc", "-c", BASH, "bash", *typed) == offered


@pytest.mark.program("zsh")
def test_zsh(tmp_path: Path) -> None:
    assert "restart:Connect a session anew." in _shell(tmp_path, "zsh", "-f", "-c", ZSH, "zsh", "rest")
    assert _shell(tmp_path, "zsh", "-f", "-c", ZSH, "zsh", "qr", "7", "--png", "x") == ["FILES"]


@pytest.mark.program("fish")
def test_fish(tmp_path: Path) -> None:
    assert "restart\tConnect a session anew." in _shell(tmp_path, "fish", "--no-config", "-c", FISH, "rest")


def test_every_command_is_offered_with_what_it_does() -> None:
    offered = dict(line.split("\t") for line in answer("fish", [""]).splitlines())
    assert offered == {name: summary for name, (_, _, summary) in COMMANDS.items()}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["db", ""], ["status", "upgrade", "prune", "stop"]),
        (["sessions", "--status", ""], list(Status)),
        (["sessions", "--status="], [f"--status={status}" for status in Status]),
        (["sessions", "--org", "1", "--output", "t"], ["table", "tsv"]),
        (["assign", "77051234567", ""], ["neonize", "baileys"]),
        (["assign", "--org", "1", "77051234567", "n"], ["neonize"]),
        (["assign", "77051234567", "neonize", ""], []),
        (["qr", "77051234567", "--png", "/tmp/"], [":files"]),
        (["send", "1", "--", "--js"], []),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["--ver"], ["--version"]),
    ],
)
def test_what_is_offered(typed: list[str], offered: list[str]) -> None:
    assert _words(answer("fish", typed)) == offered


@pytest.mark.parametrize(
    "words",
    [[], [""], ["nonsense", ""], ["stats", "\udcff", "--org"], ["stats", "--org", "x", "7"], ["'", '"'], ["--", "-"]],
)
def test_nothing_but_offers_is_ever_written(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path
) -> None:
    monkeypatch.setenv("_WA_SESSIONS_COMPLETE", "complete_bash")
    monkeypatch.setenv("WA_SESSIONS_DATA_DIR", str(tmp_path / "none"))
    assert cli.execute(words) == 0
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "none").exists()


def test_a_help_text_cannot_steer_the_shell() -> None:
    assert "\x1b" not in answer("zsh", ["stats", "--"])
    assert reached(["stats", "--org", "3"]).given == {"org": "3"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_asks_in_the_way_that_is_answered(shell: str, capsys: Capture) -> None:
    assert cli.execute(["completion", shell]) == 0
    assert f"{cli.COMPLETE_VARIABLE}=complete_{shell} " in capsys.readouterr().out
