"""More bad input than is worth a process each: the same entry point, called in this one."""

import pytest

from wa_sessions import cli
from wa_sessions.db import backend, phones
from wa_sessions.db.gateway import Database

ALICE, BOB = "77051234567", "77057654321"


BAD_INPUT: list[tuple[list[str], int, str]] = [
    (["force-close", BOB, "--yes"], 3, "wa-sessions add"),
    (["stats", "#999"], 3, "#999"),
    (["stats", "#999999999999"], 3, "#999999999999"),
    (["stats", ALICE, "--org", "99999999999"], 3, "organization 99999999999"),
    (["sessions", "--org", "99999999999"], 2, "cannot hold"),
    (["sessions", "--status", "fine"], 2, "logged_out"),
    (["add", "#5", "--org", "1"], 2, "takes a number"),
    (["add", ALICE, "--org", "1"], 2, "already phone"),
    (["add", BOB, "--org", "99999999999"], 2, "cannot hold"),
    (["add", BOB, "--org", "1", "--name", "a\0b"], 2, "cannot hold"),
    (["add", BOB, "--org", "1", "--name", "\udcff"], 2, "cannot hold"),
    (["add", BOB, "--org", "1", "--name", "x" * 201], 2, "201 characters"),
    (["add", "77\0051234567", "--org", "1"], 2, "no phone"),
    (["assign", ALICE, "waba"], 2, "neonize or baileys"),
    (["restore", "a\0b"], 2, "cannot hold"),
    (["restore", "\udcff"], 2, "cannot hold"),
    (["restore", " "], 2, "which operation"),
    (["run", ALICE, "--on-message", "nonsense"], 2, "module:function"),
    (["run", ALICE, "--on-message", "no.such:thing"], 2, "no.such"),
    (["run", ALICE, "--on-message", "wa_sessions.cli:absent"], 2, "absent"),
    (["run", ALICE, "--on-message-exec", "no-such-program x"], 2, "no-such-program"),
    (["run", ALICE, "--on-message-exec", "'open"], 2, "--on-message-exec"),
    (["run", ALICE, "--on-message-exec", " "], 2, "--on-message-exec"),
    (["run", ALICE, "--on-message", "a:b", "--on-message-exec", "true"], 2, "exclude"),
    (["run", ALICE, "--store-url", "mysql://x"], 4, "postgres://"),
    (["restart", ALICE], 1, f"wa-sessions run {ALICE}"),
    (["relink", ALICE], 1, f"wa-sessions run {ALICE}"),
    (["send", ALICE, "#3", "hi"], 2, "group"),
    (["send", ALICE, "somebody", "hi"], 2, "'somebody'"),
    (["send", ALICE, BOB, " "], 2, "empty"),
    (["send", ALICE, BOB, "a\0b"], 2, "NUL"),
    (["send", ALICE, BOB, "x" * 65537], 2, "65537"),
]


def test_bad_input(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All on one database, as none of them changes anything."""
    monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", database_url)
    with database.transaction() as conn:
        phones.add(conn, backend.detect(conn), ALICE, 1)
    wrong = []
    for arguments, code, words in BAD_INPUT:
        ended = cli.execute(arguments)
        out, err = capsys.readouterr()
        one_line = err.startswith("wa-sessions: ") and err.count("\n") == 1
        if (ended, out) != (code, "") or words not in err or not one_line:
            wrong.append(f"{arguments}: {ended}, {out!r}, {err!r}")
    assert not wrong, "\n".join(wrong)
