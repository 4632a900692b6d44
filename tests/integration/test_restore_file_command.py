"""``backup`` and ``restore --file`` as they are typed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support import corpus
from support.backup_fixtures import Called, Key, all_keys, caller, lose_keys

from wa_sessions.db.gateway import Database

Call = Callable[..., Called]
TOTALS = ("operation", "matched", "quarantined", "left", "restored", "skipped", "dry_run", "undo", "file", "made_at")


@pytest.fixture
def call(database: Database, database_url: str, capsys: pytest.CaptureFixture[str]) -> Call:
    with database.transaction() as conn:
        corpus.load(conn, "BaileysAuth-old")
    return caller(database_url, capsys)


@pytest.fixture
def file(call: Call, key: Key, tmp_path: Path) -> Path:
    assert call("backup", "all", tmp_path / "keys.age").code == 0
    return tmp_path / "keys.age"


def test_there_and_back(database: Database, call: Call, file: Path) -> None:
    before = all_keys(database)
    lose_keys(database, corpus.PAIRED)
    with database.transaction() as conn:
        conn.execute(
            'UPDATE public."BaileysAuth" SET "key" = \'creds-\' || "key" WHERE "phoneJid" = %s', (corpus.SEVENTH,)
        )
    words = ("restore", "--file", file, "--process-stopped", "--overwrite", "--json")
    tried = call(*words, "--dry-run").json
    done = call(*words, "--yes").json
    assert tuple(done) == (*TOTALS, "phones")
    assert {name for name in done if done[name] != tried[name]} == {"operation", "undo", "dry_run"}
    assert (done["skipped"], done["left"], done["restored"]) == (2, 0, sum(one["restored"] for one in done["phones"]))
    assert done["undo"] == f"wa-sessions restore {done['operation']} --overwrite"
    auth, store, rows = all_keys(database)
    assert (auth, store) == before[:2]
    assert [row[0] for row in rows] == [row[0] for row in before[2]]


def test_it_asks_first(database: Database, call: Call, file: Path) -> None:
    before = all_keys(database)
    refused = call("restore", "--file", file, "--phone", corpus.LOGGED_OUT)
    assert (refused.code, refused.out) == (6, "")
    assert f"of {corpus.LOGGED_OUT} from" in refused.err
    assert all_keys(database) == before
    done = call("restore", "--file", file, "--phone", corpus.LOGGED_OUT, "--yes")
    assert done.code == 0
    assert f"keys of {corpus.LOGGED_OUT} back" in done.out
    assert "undo: wa-sessions restore op-" in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines())


def test_what_is_refused(call: Call, file: Path) -> None:
    cases = {
        ("--identity", "/nowhere"): (2, "cannot read /nowhere"),
        ("--phone", "nobody"): (2, "is no phone"),
        ("--phone", "77059999999"): (3, "has no phone 77059999999"),
        ("--org", "55"): (3, "has no phone of organization 55"),
        ("--phone", corpus.PAIRED): (5, "--process-stopped"),
    }
    for options, (code, words) in cases.items():
        refused = call("restore", "--file", file, "--yes", *options)
        assert (refused.code, refused.out) == (code, "")
        assert words in refused.err


def test_no_secret_is_shown(call: Call, key: Key, file: Path) -> None:
    secret = key.file.read_text().splitlines()[-1]
    shown = [
        call("restore", "--file", file, "--yes", "--process-stopped", "--overwrite", "-o", form)
        for form in ("table", "json", "tsv")
    ]
    shown += [call("restore", "--file", file, "--identity", file), call("restore", "--file", key.file)]
    assert [one.code for one in shown] == [0, 0, 0, 2, 1]
    assert not any(secret in one.out + one.err or "eyJub2lzZ" in one.out + one.err for one in shown)
