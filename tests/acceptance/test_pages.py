"""What the documentation shows of a terminal is what its commands print."""

import json
import os
import re
import shutil
from pathlib import Path

from support.pages import ROOT, Page, Running
from support.pairing import Party, link
from support.standin import Standin
from tenacity import Retrying, stop_after_delay, wait_fixed

from wa_sessions.emulator import Emulator, Phone

ALICE, BOB = "77051234567", "77057654321"


def test_the_tutorial(emu: Emulator, peers: Standin, open_folder: Path, tmp_path: Path) -> None:
    data = open_folder / "tutorial"
    settings = {"HOME": str(tmp_path), "WA_SESSIONS_DATA_DIR": str(data)}
    page = Page("docs/tutorial.md", {**os.environ, **emu.client_env(), **settings}, tmp_path)
    page.real["/home/ops/.local/share/wa-sessions"] = str(data)
    try:
        _tutorial(page, emu, peers)
    finally:
        page.shown("wa-sessions db stop")
        shutil.rmtree(data)
    page.end()


def _tutorial(page: Page, emu: Emulator, peers: Standin) -> None:
    page.untold = "wa-sessions: the database is the embedded one in "
    page.leave_out("python3.11 -m venv", "it installs the program, which these tests run installed")
    page.run("wa-sessions add")
    page.run("db status")
    (page.folder / "inbox.py").write_text(_handler(page))
    phone = emu.add_phone(ALICE, "Reception")
    running = page.start("wa-sessions run")
    try:
        page.run("session      pairing")
        emu.scan(_qr(page), phone)
        page.log("paired as", running)
        page.run("connected, last connected 2 s ago")
        bob = link(emu, peers, "bob", emu.add_phone(BOB, "Bob"))
        _write(page, bob, "hello, is my parcel there?")
        page.run("wa-sessions send")
        bob.gets("The parcel is here")
        _write(page, bob, "thank you")
        page.run("cat inbox.txt")
        _see_an_error(page, emu, phone, running, bob)
        _close(page, running, bob)
        running.interrupt()
        page.log("INFO    stopping", running)
        page.run("wa-sessions sessions")
        page.run("db stop")
    finally:
        running.interrupt()


def _see_an_error(page: Page, emu: Emulator, phone: Phone, running: Running, bob: Party) -> None:
    fault = emu.damage_messages(to=phone, sender=bob.phone, count=None)
    bob.send_to(ALICE, "lost")
    page.log("did not decrypt (bad_mac)", running)
    page.run("last error   Bad MAC, 2 s ago")
    fault.heal()
    _write(page, bob, "whole again")
    page.log("Bad MAC counter reset", running)


def _close(page: Page, running: Running, bob: Party) -> None:
    page.run("--reason maintenance")
    page.run("(maintenance)")
    page.run("wa-sessions restart +77051234567\n")
    running.says("connected as")
    page.run("--reason hangs")
    bob.send_to(ALICE, "I write while you are away")
    page.run("brought")
    running.says("connected as")
    page.run("last error   Bad MAC, 13 s ago")
    _read(page, "I write while you are away")
    page.run("tail -n 1 inbox.txt")
    page.run("was restored already")


def _handler(page: Page) -> str:
    """The message handler that the page has its reader write."""
    found = re.search(r"```python\n(.*?)```", (ROOT / page.name).read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


def _qr(page: Page) -> str:
    _, brace, data = page.shown(f"wa-sessions qr {ALICE} --json", terminal=False).partition("{")
    return str(json.loads(brace + data)["qr"])


def _write(page: Page, sender: Party, text: str) -> None:
    sender.send_to(ALICE, text)
    _read(page, text)


def _read(page: Page, text: str) -> None:
    """Until the handler has written that down."""
    inbox = page.folder / "inbox.txt"
    for attempt in Retrying(stop=stop_after_delay(60), wait=wait_fixed(0.05), reraise=True):
        with attempt:
            assert f"{text}\n" in inbox.read_text()
