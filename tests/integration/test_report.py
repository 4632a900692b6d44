"""``report``: the figures of a window, in all its forms."""

import re
import stat
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from uuid import uuid4

import pytest
from support import corpus
from support.fleet import Fleet
from support.history import write_event

from wa_sessions.db import pruning, workers
from wa_sessions.process_identity import ProcessIdentity

WORKER = uuid4()
HOSTILE = "<script>alert(1)</script>\"'&\x1b[2J"


class Seen(HTMLParser):
    """Tags and text of a page; every tag that is opened has to be closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.said = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onclick", "onload"}
        if tag not in {"meta", "br", "rect"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data


@pytest.fixture
def told(fleet: Fleet) -> Fleet:
    """Phone #3 was connected from 4 hours ago, with a break of one hour; the worker was killed an hour ago."""
    now = datetime.now(UTC)
    with fleet.database.transaction() as conn:
        workers.register(conn, WORKER, ProcessIdentity("host", 1), "1")
        conn.execute("UPDATE wa_sessions.worker SET heartbeat_at = %s", (now - timedelta(hours=1),))
        conn.execute("""UPDATE public."OrganizationPhone" SET "displayName" = %s WHERE "id" = 3""", (HOSTILE,))
        for hours, kind, detail in (
            (200.0, "session_closed", {"error_kind": "bad_mac"}),
            (199.0, "stopped", {}),
            (4.0, "pairing_started", {}),
            (4.0, "connected", {}),
            (3.5, "error_counted", {"error_kind": "bad_mac"}),
            (3.5, "session_quarantined", {"keys": 1}),
            (3.4, "message_recovered", {"seconds": 1}),
            (3.0, "disconnected", {}),
            (2.0, "connected", {}),
        ):
            at = now - timedelta(hours=hours)
            entry = write_event(conn, 3, 1, kind, detail, worker_id=WORKER)
            conn.execute("UPDATE wa_sessions.event SET at = %s WHERE id = %s", (at, entry))
        write_event(conn, 99, 2, "force_closed", {})
    return fleet


def test_figures(told: Fleet) -> None:
    found = told.json("report", corpus.PAIRED, "--since", "8h")
    (phone,) = found["phones"]
    assert (phone["phone"], phone["display_name"]) == (corpus.PAIRED, HOSTILE)
    assert phone["availability"] == pytest.approx(2 / 3, abs=0.01)
    assert phone["observed_seconds"] == pytest.approx(3 * 3_600, abs=60)
    assert phone["errors"] == {"bad_mac": 1, "bad_decrypt": 0}
    assert phone["repairs"] == {"session": 1, "sender_key": 0, "collection": 0}
    assert phone["closes"] == {"bad_mac": 0, "bad_decrypt": 0, "forced": 0, "backend": 0}
    assert phone["pairings"] == {"needed": 1, "scanned": 0, "expired": 0}
    assert phone["messages"] == {"recovered": 1, "lost": 0}
    assert phone["logins"] == 2
    assert phone["connection_ends"]["disconnected"] == 1
    assert len(phone["steps"]) == len(found["starts"]) == len(found["total"]["steps"])
    assert sum(step["up_seconds"] for step in phone["steps"]) == pytest.approx(phone["up_seconds"])

    everyone = told.json("report", "--since", "30d")
    by_id = {one["phone_id"]: one for one in everyone["phones"]}
    assert by_id[3]["closes"]["bad_mac"] == 1
    assert by_id[1]["availability"] is None
    assert (by_id[99]["phone"], by_id[99]["closes"]["forced"]) == (None, 1)
    assert everyone["total"]["closes"] == {"bad_mac": 1, "bad_decrypt": 0, "forced": 1, "backend": 0}
    assert [one["phone_id"] for one in told.json("report", "--org", "2")["phones"]][-1] == 99
    assert told("report", "77050000000").code == 3


def test_a_connection_from_before_the_window_goes_on_in_it(told: Fleet) -> None:
    (phone,) = told.json("report", corpus.PAIRED, "--since", "90m")["phones"]
    assert phone["availability"] == 1
    assert phone["up_seconds"] == pytest.approx(1_800, abs=60)


def test_for_people(told: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = told("report", "--since", "8h").out
    assert all(len(line) <= 80 and (line.isprintable() or not line) for line in shown.splitlines())
    assert re.search(r"^  up +66\.\d\d %  of the 4\.\d\d % of the time that a worker observed$", shown, re.MULTILINE)
    assert re.search(r"^  Bad MAC +1  ·+█·+$", shown, re.MULTILINE)
    assert re.search(rf"^{corpus.BUFFERS} .* -  +0 % ", shown, re.MULTILINE)
    assert "nobody observed 7 of 8 phones" in shown
    header, *rows = told("report", "-o", "tsv").out.splitlines()
    assert header.startswith("phone_id\tphone\torganization_id\tdisplay_name\tavailability\t")
    assert len(rows) == 8


def test_what_was_pruned_is_said(told: Fleet) -> None:
    assert told.json("report", "--since", "30d")["kept_since"] is None
    pruning.prune(told.database, timedelta(days=2))
    data = told.json("report", "--since", "30d")
    age = datetime.now(UTC) - datetime.fromisoformat(data["kept_since"])
    assert timedelta(hours=199) <= age < timedelta(hours=199, minutes=2)
    assert data["total"]["closes"]["bad_mac"] == 0
    assert "was pruned: the figures begin there" in " ".join(told("report", "--since", "30d").out.split())
    assert told.json("report", "--since", "1d")["kept_since"] is None


def test_the_page_is_whole_and_harmless(told: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    done = told("report", "--since", "30d", "--html", str(file))
    assert (done.code, done.err) == (0, f"wa-sessions: wrote {file}\n")
    page = file.read_text(encoding="utf-8")
    seen = Seen(page)
    assert not {"script", "link", "img", "iframe"} & set(seen.tags)
    assert "http:" not in page
    assert "https:" not in page
    assert HOSTILE.replace("\x1b", "\ufffd") in seen.said
    assert corpus.PAIRED in seen.said
    assert "#99" in seen.said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    refused = told("report", "--html", str(file))
    assert (refused.code, refused.out) == (1, "")
    assert "exists already: name another file, or say --force" in refused.err
    assert file.read_text(encoding="utf-8") == page
    assert told("report", corpus.PAIRED, "--html", str(file), "--force").code == 0
    assert "#99" not in Seen(file.read_text(encoding="utf-8")).said
    assert told("report", "--org", "77", "--html", str(file), "--force").out.endswith("no phones\n")
    assert told("report", "--html", str(tmp_path)).code == 1
    assert told("report", "--html", "-").code == 2
    assert told("report", "--html", str(tmp_path / "none" / "x")).code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
