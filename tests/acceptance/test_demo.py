"""`wa-sessions demo`, as a newcomer runs it."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.installation import PROGRAM
from support.waiting import PATIENCE

from wa_sessions import cli

SCENES = 12


def _demo(tmp_path: Path) -> "subprocess.Popen[str]":
    keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return subprocess.Popen(
        [str(PROGRAM), "demo", "--json"],
        env={**keep, "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_every_scene_happens_and_nothing_is_left_behind(tmp_path: Path) -> None:
    process = _demo(tmp_path)
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    story = json.loads(out)
    assert story["ok"] is True
    assert len(story["steps"]) == SCENES
    assert all(step["ok"] and step["seconds"] >= 0 for step in story["steps"])
    assert "Bad MAC error #3" in err
    assert "6 of 6 orders are handled" in err
    assert "the second worker has both phones connected" in err
    assert list(tmp_path.iterdir()) == []


def test_a_scene_that_does_not_happen_is_named(tmp_path: Path) -> None:
    process = _demo(tmp_path)
    assert process.stderr
    for line in process.stderr:
        if "they talk" in line:
            os.kill(_worker_of(process.pid), signal.SIGKILL)
            break
    out, err = process.communicate(timeout=280)
    assert process.returncode == 1
    story = json.loads(out)
    failed = [step["name"] for step in story["steps"] if not step["ok"]]
    assert story["ok"] is False
    assert len(failed) == 1
    assert f"the demo stopped at {failed[0]!r}" in err


def _worker_of(parent: int) -> int:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                ppid = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            if ppid == parent and b"run" in words and sys.executable.encode() in words[0]:
                return int(folder.name)
    raise AssertionError("the demo has no worker")


def test_where_the_emulator_cannot_run_the_demo_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert cli.execute(["demo"]) == 1
    assert "wa-sessions: the emulator needs Linux on x86-64 or aarch64, not linux riscv64" in capsys.readouterr().err
