"""``logs`` beside a database: phone ids become numbers, and the library's lines find their phones by rows."""

import json
from pathlib import Path

import pytest
from support import backend_logs, corpus
from support.fleet import Fleet

from wa_sessions import cli

PEER, SHARED = "77019990053", "77019990048"


@pytest.fixture
def holding(fleet: Fleet) -> Fleet:
    """The corpus' phones, one of them with the session of a sender that the logs name, two with that of another."""
    rows = [(1, corpus.BUFFERS, PEER), (1, corpus.BUFFERS, SHARED), (1, corpus.PAIRED, SHARED)]
    for organization, number, peer in rows:
        fleet.sql(
            'INSERT INTO public.baileys_auth ("organizationId", "phoneJid", "key", "value", "type")'
            " VALUES (%s, %s, %s, '{}', 'base64_json')",
            *(organization, number, f"session-{peer}.0"),
        )
    return fleet


def test_attributed_by_the_rows_that_phones_hold(holding: Fleet) -> None:
    data = holding.json("logs", *backend_logs.FILES)
    phones = {phone["phone"]: phone for phone in data["phones"]}
    mine = backend_logs.TRUTH["per_peer"][PEER]
    assert phones[corpus.BUFFERS]["library"]["bad_mac"] == mine["bad_mac_msg"]
    assert phones[corpus.BUFFERS]["library"]["duplicate"] == mine["replay_pkmsg"]
    assert phones[corpus.BUFFERS]["resets"] == backend_logs.TRUTH["phones"][corpus.BUFFERS]["resets"]
    [shared] = data["unattributed"]["candidates"]
    theirs = backend_logs.TRUTH["per_peer"][SHARED]
    assert shared == {
        "phones": sorted([corpus.BUFFERS, corpus.PAIRED]),
        "messages": sum(count for kind, count in theirs.items() if kind != "closing"),
    }
    assert data["library"] == backend_logs.LIBRARY
    for kind, count in backend_logs.LIBRARY.items():
        assert data["unattributed"][kind] == count - sum(phone["library"][kind] for phone in data["phones"])


def test_in_one_organization(holding: Fleet) -> None:
    data = holding.json("logs", *backend_logs.FILES, "--org", "2")
    assert [phone["phone"] for phone in data["phones"]] == [corpus.SEVENTH]


@pytest.mark.parametrize("output", ["table", "tsv"])
def test_for_people_and_tables(holding: Fleet, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = holding("logs", *backend_logs.FILES, "-o", output)
    assert shown.code == 0
    assert corpus.BUFFERS in shown.out
    if output == "table":
        assert all(len(line) <= 80 for line in shown.out.splitlines())


def test_without_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WA_SESSIONS_DATA_DIR", str(tmp_path / "none"))
    assert cli.execute(["logs", *backend_logs.FILES, "--json"]) == 0
    shown = capsys.readouterr()
    data = json.loads(shown.out)
    assert data["unattributed"]["resets"] == {"12": 1}
    unknown = {phone["phone"] for phone in data["phones"] if phone["resets"] is None}
    assert unknown == {"77029990011", "77013334455"}
    assert "not looked up" in shown.err
    assert cli.execute(["logs", *backend_logs.FILES, "--database-url", "postgresql://x@127.0.0.1:1/x"]) == 4
