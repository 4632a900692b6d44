"""``qr`` and ``rename``: what they show, write and refuse."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples
from support.terminal import Terminal

from wa_sessions import cli
from wa_sessions.cli.sessions import qr
from wa_sessions.db import backend, health, phones, workers
from wa_sessions.db.gateway import Database
from wa_sessions.db.health import HealthRow
from wa_sessions.health.reconnect import State, Status
from wa_sessions.process_identity import ProcessIdentity

NUMBER = "77051234567"
CODE = "2@" + "A" * 120 + "," + "B" * 43 + "=," + "C" * 43 + "=," + "D" * 43 + "="
Capture = pytest.CaptureFixture[str]
Change = Callable[..., None]


@pytest.fixture
def phone_id(database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """A neonize phone that waits for its QR to be scanned; the environment names the database."""
    monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", database_url)
    with database.transaction() as conn:
        found = backend.detect(conn)
        phone = phones.add(conn, found, NUMBER, 1, "Reception")
        phones.set_status(conn, found, phone.id, Status.PENDING, qr_code=CODE)
        return phone.id


@pytest.fixture
def change(database: Database, phone_id: int) -> Change:
    """Writes columns of the phone as its owner would."""

    def write(**columns: object) -> None:
        values = {"updatedAt": "now", **columns}
        cells = ", ".join(f'"{name}" = %({name})s' for name in values)
        with database.transaction() as conn:
            conn.execute(f'UPDATE public."OrganizationPhone" SET {cells} WHERE id = {phone_id}', values)

    return write


def run(capsys: Capture, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Run a command here; what it wrote to stdout and stderr."""
    capsys.readouterr()
    assert cli.execute(list(arguments)) == code
    shown = capsys.readouterr()
    return shown.out, shown.err


def as_json(capsys: Capture, *arguments: str, code: int = 0) -> dict[str, Any]:
    return dict(json.loads(run(capsys, *arguments, "--json", code=code)[0]))


def test_the_qr_is_drawn(phone_id: int, capsys: Capture) -> None:
    out, err = run(capsys, "qr", NUMBER)
    head, *lines = out.splitlines()
    assert head == f"{NUMBER}: scan this with WhatsApp on the phone, under Linked devices"
    assert len(lines) > 20
    assert max(map(len, lines)) <= 80
    assert err == ""


@pytest.mark.parametrize(
    ("lines", "columns", "border", "told"),
    [(60, 120, 2, False), (32, 80, 1, False), (24, 80, 2, True), (60, 50, 2, True)],
)
def test_a_terminal_that_is_too_small_is_told_what_the_qr_needs(
    phone_id: int, lines: int, columns: int, border: int, *, told: bool
) -> None:
    shown = Terminal({}).on_screen(lines, columns, "qr", NUMBER)
    assert shown.code == 0
    text = re.sub("\x1b\\[[0-9;]*m", "", shown.out)
    drawn = [line for line in text.splitlines() if line and not line.strip(" ▀▄█")]
    assert (len(drawn[0]), len(drawn)) == ((57 + 2 * border), (57 + 2 * border + 1) // 2)
    needs = f"needs 32 lines and 59 columns, and the terminal has {lines} and {columns}"
    assert (needs in " ".join(text.split())) is told
    assert (f"wa-sessions qr {NUMBER} --png FILE" in text) is told


def test_its_json(phone_id: int, capsys: Capture, tmp_path: Path) -> None:
    shown = as_json(capsys, "qr", f"#{phone_id}")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:.]{12}Z", shown.pop("updated_at"))
    expected = {"phone_id": phone_id, "phone": NUMBER, "organization_id": 1, "status": "pending", "qr": CODE}
    assert shown == {**expected, "file": None}
    assert as_json(capsys, "qr", NUMBER, "--png", str(tmp_path / "a"))["file"] == str(tmp_path / "a")
    header, row = run(capsys, "qr", NUMBER, "-o", "tsv")[0].splitlines()
    assert dict(zip(header.split("\t"), row.split("\t"), strict=True))["qr"] == CODE


@pytest.mark.parametrize(("option", "start"), [("--png", b"\x89PNG\r\n"), ("--svg", b"<?xml")])
def test_a_picture_is_for_its_owner_alone(
    option: str, start: bytes, phone_id: int, capsys: Capture, tmp_path: Path
) -> None:
    file = tmp_path / "qr"
    file.write_text("old")
    file.chmod(0o644)
    out, _ = run(capsys, "qr", NUMBER, option, str(file))
    assert out.splitlines() == [f"{NUMBER}: scan this with WhatsApp on the phone, under Linked devices: {file}"]
    assert file.read_bytes().startswith(start)
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_picture_that_cannot_be_written(phone_id: int, capsys: Capture, tmp_path: Path) -> None:
    for place in (tmp_path / "none" / "qr", tmp_path, Path("/dev/null")):
        out, err = run(capsys, "qr", NUMBER, "--png", str(place), code=1)
        assert out == ""
        assert f" {place.parent}" in err
        assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert Path("/dev/null").is_char_device()
    assert run(capsys, "qr", NUMBER, "--png", "a", "--svg", "b", code=2)[0] == ""


NO_QR = [
    ({"status": "connected"}, "nothing to scan"),
    ({"qrCode": None, "status": "disconnected"}, f"wa-sessions run {NUMBER}"),
    ({"qrCode": None, "connectionType": "baileys"}, "the Node backend makes one when it starts"),
    ({"connectionType": "waba"}, "official API"),
    ({"qrCode": "data:image/png;base64,iVBORw0KGgo="}, "holds a picture"),
    ({"qrCode": "not a code"}, "not the text of a QR"),
    ({"qrCode": "x" * 5000}, "not the text of a QR"),
]


@pytest.mark.parametrize(("columns", "words"), NO_QR)
def test_no_qr_says_what_to_do(columns: dict[str, Any], words: str, change: Change, capsys: Capture) -> None:
    change(**columns)
    out, err = run(capsys, "qr", NUMBER, code=1)
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert as_json(capsys, "qr", NUMBER, code=1)["qr"] is None


@pytest.mark.parametrize(
    ("state", "status", "words"),
    [
        ("pairing", "pending", "--watch"),
        ("pairing_expired", "logged_out", f"wa-sessions relink {NUMBER}"),
        ("logged_out", "logged_out", f"wa-sessions relink {NUMBER}"),
        ("replaced", "disconnected", f"wa-sessions restart {NUMBER}"),
        ("reconnecting", "reconnecting", "it connects again by itself"),
    ],
)
def test_no_qr_at_a_phone_that_a_worker_runs(
    state: str, status: str, words: str, database: Database, phone_id: int, change: Change, capsys: Capture
) -> None:
    change(qrCode=None, status=status)
    worker = uuid4()
    with database.transaction() as conn:
        workers.register(conn, worker, ProcessIdentity("elsewhere", 4242), "0.1.0")
        conn.execute(
            "INSERT INTO wa_sessions.lease VALUES (%s, %s, 1, clock_timestamp() + interval '1 minute')",
            (phone_id, worker),
        )
        now = conn.execute("SELECT clock_timestamp() AS now").fetchone()
        assert now
        health.save(
            conn, HealthRow(phone_id, 1, 0, 0, (), None, None, 0, 0, State(state), None, now["now"], None, None)
        )
    assert words in run(capsys, "qr", NUMBER, code=1)[1]


def test_an_old_qr_is_shown_with_a_warning(change: Change, capsys: Capture) -> None:
    change(updatedAt="2026-01-15 10:00:00")
    out, err = run(capsys, "qr", NUMBER)
    assert len(out.splitlines()) > 20
    assert "is old" in err


def test_reading_is_enough(
    database: Database, database_url: str, phone_id: int, change: Change, capsys: Capture
) -> None:
    role = f"reader_{uuid4().hex[:8]}"
    with database.transaction() as conn:
        conn.execute(
            f'CREATE ROLE {role} LOGIN; GRANT SELECT ON public."OrganizationPhone", public.baileys_auth TO {role}'
        )
    url = database_url.replace("postgres@", f"{role}@")
    assert as_json(capsys, "qr", NUMBER, "--database-url", url)["qr"] == CODE
    change(qrCode=None)
    assert f"wa-sessions run {NUMBER}" in run(capsys, "qr", NUMBER, "--database-url", url, code=1)[1]
    with database.transaction() as conn:
        conn.execute("DROP SCHEMA wa_sessions CASCADE")
    change(qrCode=CODE)
    assert as_json(capsys, "qr", NUMBER)["qr"] == CODE
    with database.transaction() as conn:
        conn.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_watching_ends_when_it_is_connected(
    change: Change, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(qr, "POLL", 0.01)
    file = tmp_path / "qr.svg"
    change(qrCode=None)
    steps: list[dict[str, Any]] = [{"qrCode": CODE}, {"qrCode": CODE + "x"}, {"qrCode": None, "status": "connected"}]
    seen: list[bytes] = []
    real = time.sleep

    def sleep(seconds: float) -> None:
        seen.append(file.read_bytes() if file.exists() else b"")
        change(**steps.pop(0))
        real(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    out, err = run(capsys, "qr", NUMBER, "--watch", "--json", "--svg", str(file))
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["qr"], line["status"]) for line in lines] == [
        (None, "pending"),
        (CODE, "pending"),
        (CODE + "x", "pending"),
        (None, "connected"),
    ]
    assert [line["file"] for line in lines] == [None, str(file), str(file), None]
    assert len(set(seen)) == 3
    assert "nothing to scan" in err.splitlines()[-1]


@examples(20)
@given(code=st.one_of(st.text(), st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=1200)))
def test_whatever_stands_there_is_no_traceback(code: str, change: Change, capsys: Capture) -> None:
    change(qrCode=code.replace("\x00", ""))
    capsys.readouterr()
    assert cli.execute(["qr", NUMBER]) in (0, 1)
    assert "internal" not in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------- rename


def _name(database_url: str) -> Any:
    with psycopg.connect(database_url) as conn:
        row = conn.execute('SELECT "displayName" FROM public."OrganizationPhone"').fetchone()
        assert row
        return row[0]


def test_rename(phone_id: int, database: Database, database_url: str, capsys: Capture) -> None:
    shown = as_json(capsys, "rename", NUMBER, "  Front  desk ")
    before = {"phone_id": phone_id, "phone": NUMBER, "display_name_before": "Reception"}
    assert shown == {**before, "display_name": "Front desk"}
    assert _name(database_url) == "Front desk"
    run(capsys, "rename", NUMBER, "Front desk")
    assert run(capsys, "rename", NUMBER, "")[0] == f"{NUMBER} is called nothing (before: Front desk)\n"
    assert _name(database_url) is None
    with database.transaction() as conn:
        renamed = [event.stored for event in health.last_events(conn, phone_id, 10) if event.kind == "renamed"]
    assert [(detail["from"], detail["to"]) for detail in renamed] == [("Reception", "Front desk"), ("Front desk", None)]
    assert all(detail["actor"] for detail in renamed)


def test_rename_refuses(phone_id: int, database: Database, database_url: str, capsys: Capture) -> None:
    for name, code in (("x" * 201, 2), ("nul\x00", 2)):
        assert run(capsys, "rename", NUMBER, name, code=code)[1].count("\n") == 1
    run(capsys, "rename", "77059999999", "x", code=3)
    with database.transaction() as conn:
        conn.execute("DROP SCHEMA wa_sessions CASCADE")
    assert "wa-sessions db upgrade" in run(capsys, "rename", NUMBER, "x", code=1)[1]
    assert _name(database_url) == "Reception"


@examples(15)
@given(name=st.text(max_size=220))
def test_any_name_is_kept_or_refused(name: str, phone_id: int, database_url: str, capsys: Capture) -> None:
    capsys.readouterr()
    code = cli.execute(["rename", NUMBER, "--", name])
    shown = capsys.readouterr()
    assert code in (0, 2)
    assert "internal" not in shown.err
    assert shown.out.count("\n") == (code == 0)
    if code == 0:
        assert _name(database_url) == (" ".join(name.split()) or None)
