"""Every log of the cases by the command itself, beside a database: what it gives, its exit code and its warnings."""

import json
from pathlib import Path

import pytest
from support import corpus, log_cases
from support.fleet import Fleet

from wa_sessions.cli import execute

ROWS = ("session-200000003000009_1.0", "lid-mapping-200000003000009_reverse", "session-77071008214.0")


@pytest.fixture
def holding(fleet: Fleet) -> Fleet:
    """The corpus, with a second phone that holds the sessions of the other senders."""
    fleet.sql(
        'INSERT INTO public."OrganizationPhone" ("id", "organizationId", "phoneJid", "status", "updatedAt")'
        " VALUES (4, 1, %s, 'connected', now())",
        f"{log_cases.SECOND}@s.whatsapp.net",
    )
    for key in ROWS:
        fleet.sql(
            f'INSERT INTO public."{fleet.auth}" ("organizationId", "phoneJid", "key", "value", "type")'
            " VALUES (1, %s, %s, '{}', 'base64_json')",
            *(log_cases.SECOND, key),
        )
    return fleet


def test_every_case(holding: Fleet) -> None:
    wrong = {}
    for case, truths in log_cases.cases().items():
        shown = holding("logs", str(log_cases.FOLDER / case), "--json")
        said = log_cases.summary(shown.json) if shown.code == 0 else shown.err
        if said not in truths or ("could not be read" in shown.err) is not ("unread" in said):
            wrong[case] = said
    assert wrong == {}


def test_both_logs_of_a_process(holding: Fleet) -> None:
    for case in ("good", "colonspace", "compose", "node16"):
        names = [str(log_cases.FOLDER / "record" / f"{case}-{stream}.log") for stream in ("out", "err")]
        assert log_cases.summary(holding.json("logs", *names)) == f"{corpus.BUFFERS} bad_mac 6"
    names = [str(log_cases.FOLDER / "record" / f"over2000-{stream}.log") for stream in ("out", "err")]
    assert log_cases.summary(holding.json("logs", *names)) == f"{corpus.BUFFERS} other 6"


def test_secrets_behind_every_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    cases = {case: truths for case, truths in log_cases.cases().items() if "secrets 1" in truths}
    assert len(cases) == 12
    names = [str(log_cases.FOLDER / case) for case in cases]
    assert execute(["logs", "--find-secrets", "--json", *names]) == 0
    shown = capsys.readouterr()
    data = json.loads(shown.out)
    assert {Path(row["file"]).name: row["secrets"] for row in data["files"]} == dict.fromkeys(
        (Path(name).name for name in names), 1
    )
    assert "Buffer" not in shown.out + shown.err


def test_what_looks_like_a_key_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "app.log"
    log.write_text("он пишет: Closing session: SessionEntry {\n")
    assert execute(["logs", "--find-secrets", "--json", str(log)]) == 0
    shown = capsys.readouterr()
    data = json.loads(shown.out)
    assert data["secrets_seen"] == 0
    assert data["unread"] == [
        {
            "form": "a session with its keys, its prefix or form is not known",
            "lines": 1,
            "example": "xx xxxxx: xxxxxxx xxxxxxx: SessionEntry {…",
        }
    ]
    assert "1 line could not be read" in shown.err


def test_utf_16_is_recorded_line_by_line(holding: Fleet, tmp_path: Path) -> None:
    log, text = tmp_path / "app.log", "⚠️ Bad MAC error #{} для 77051234567@s.whatsapp.net\r\n"
    log.write_bytes("\ufeff".encode("utf-16-le"))
    for number in (1, 2):
        with log.open("ab") as file:
            file.write(text.format(number).encode("utf-16-le"))
        recorded = holding.json("logs", str(log), "--record")["recorded"]
        assert recorded["entries"] == {"error_counted": 1}
