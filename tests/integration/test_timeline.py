"""``timeline``: a phone's history as a story, with what can still be undone."""

import itertools
from datetime import UTC, datetime, timedelta

from support import corpus
from support.fleet import Fleet
from support.history import write_event

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch import errors
from wa_sessions.cli.watch.timeline import _coming
from wa_sessions.db import backend
from wa_sessions.keys.phone_ref import PhoneRef


def test_what_was_done_and_how_to_undo_it(fleet: Fleet) -> None:
    with fleet.database.transaction() as conn:
        write_event(conn, 3, 1, "added", {"actor": "ops"})
        conn.execute("UPDATE wa_sessions.event SET at = now() - interval '3 days'")
        for number in range(3):
            write_event(conn, 3, 1, "message_lost", {"message_id": f"{number}\x1b"})
        write_event(conn, 1, 1, "connected", {})
    done = fleet.json("clean-sessions", corpus.PAIRED, "--process-stopped", "--yes", "--reason", "\x1b[2J hangs")
    operation = done["operation"]
    told = fleet("timeline", corpus.PAIRED)
    assert told.code == 0
    lines = told.out.splitlines()
    assert lines[1].endswith("  added by ops")
    assert lines[2].startswith("  … quiet for ")
    assert lines[5][12:] == "3 messages lost"
    assert lines[-1] == f"            undo: wa-sessions restore {operation}"
    assert all(len(line) <= 80 and line.isprintable() for line in lines)

    found = fleet.json("timeline", "#3", "--since", "1d")
    assert (found["phone_id"], found["phone"], len(found["entries"])) == (3, corpus.PAIRED, 4)
    assert found["entries"][0]["text"] == "message 0\x1b lost: no copy of it decrypted"
    assert [entry["undo"] for entry in found["entries"]] == [None, None, None, f"wa-sessions restore {operation}"]
    newest = fleet("timeline", corpus.PAIRED, "--limit", "1")
    assert newest.out.startswith("earlier entries are left out: --limit 1\n")

    assert fleet("restore", operation, "--process-stopped", "--yes").code == 0
    entries = fleet.json("timeline", corpus.PAIRED, "--since", "1d")["entries"]
    assert [(entry["kind"], entry["undo"]) for entry in entries[-2:]] == [
        ("keys_quarantined", None),
        ("restored", None),
    ]
    header, *rows = fleet("timeline", corpus.PAIRED, "-o", "tsv").out.splitlines()
    assert header == "at\tkind\ttext\tundo\tdetail\toperation"
    assert len(rows) == 6


def test_following_tells_every_kind_and_each_day_once(fleet: Fleet) -> None:
    with fleet.database.transaction() as conn:
        opened = Opened(fleet.database, backend.detect(conn))
        write_event(conn, 3, 1, "connected", {})
        conn.execute("UPDATE wa_sessions.event SET at = now() - interval '3 days'")
        write_event(conn, 3, 1, "disconnected", {})
        write_event(conn, 3, 1, "session_closed", {}, operation_id="op-1")
    since = datetime.now(UTC) - timedelta(days=9)
    coming = _coming(errors.follow(opened, PhoneRef(phone_id=3), None, since=since, kinds=None), 80)
    rows, lines = zip(*itertools.islice(coming, 3), strict=True)
    assert [row["kind"] for row in rows] == ["connected", "disconnected", "session_closed"]
    assert rows[2]["undo"] == "wa-sessions restore op-1"
    assert [len(shown) for shown in lines] == [2, 4, 3]


def test_phones_that_are_not_there(fleet: Fleet) -> None:
    assert fleet("timeline", corpus.PAIRED).out == "nothing was recorded within 7d\n"
    assert fleet("timeline", "#99").code == 3
    with fleet.database.transaction() as conn:
        write_event(conn, 99, 1, "removed", {"actor": "ops", "keys": 4})
    assert fleet("timeline", "#99").out.endswith("  removed by ops; 4 keys put into quarantine\n")
    assert fleet.json("timeline", "#99")["phone"] is None
    assert fleet("timeline", "#99", "--org", "2").code == 3
    assert fleet("timeline", corpus.PAIRED, "--since", "99999w").code == 2
