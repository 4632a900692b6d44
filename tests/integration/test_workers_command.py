"""``workers`` over real rows and locks; what workers do is done by stand-ins."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from support.fleet import Fleet
from support.stand_in_workers import FleetWorker

from wa_sessions.db import backend, health, phones
from wa_sessions.db.gateway import Database
from wa_sessions.db.health import HealthRow
from wa_sessions.process_identity import ProcessIdentity

Make = Callable[..., FleetWorker]
ONE, TWO, THREE = "77051234561", "77051234562", "77051234563"


@pytest.fixture
def fleet(emptied: Database, emptied_url: str, capsys: pytest.CaptureFixture[str]) -> Fleet:
    return Fleet(emptied, emptied_url, capsys)


@pytest.fixture
def make(emptied: Database) -> Iterator[Make]:
    made: list[FleetWorker] = []

    def one(host: str, pid: int, **how: Any) -> FleetWorker:
        made.append(FleetWorker(emptied, host, pid, **how))
        return made[-1]

    yield one
    for worker in made:
        worker.close()


@pytest.fixture
def ids(emptied: Database) -> list[int]:
    """Two phones of organization 1, one of organization 3."""
    with emptied.transaction() as conn:
        found = backend.detect(conn)
        return [phones.add(conn, found, number, org).id for number, org in ((ONE, 1), (TWO, 1), (THREE, 3))]


def connected(database: Database, phone_id: int) -> None:
    with database.transaction() as conn:
        row = conn.execute("SELECT now()").fetchone()
        assert row
        now = row["now"]
        health.save(conn, HealthRow(phone_id, 1, 0, 0, (), None, None, 0, 0, "connected", None, now, None, None))


def states(fleet: Fleet) -> dict[str, str]:
    return {one["worker"]: one["state"] for one in fleet.json("workers")["workers"]}


def test_without_any(fleet: Fleet) -> None:
    assert fleet("workers").out == "no workers: start one with wa-sessions run\n"
    assert fleet.json("workers") == {"workers": [], "phones_without_worker": []}
    assert len(fleet("workers", "-o", "tsv").out.splitlines()) == 1


def test_who_has_what(fleet: Fleet, make: Make, ids: list[int]) -> None:
    first, second, third = make("msg1", 10), make("msg2", 20, scope="org:3"), make("msg3", 30, scope=None)
    first.take(ids[0])
    third.take(ids[1])
    connected(fleet.database, ids[0])
    found = fleet.json("workers")
    one, two, named = found["workers"]
    assert (one["worker"], one["scope"], one["state"], one["phones"], one["connected"]) == (
        *("msg1/10", "all", "serving"),
        *(1, 1),
    )
    assert (two["scope"], two["state"], two["phones"]) == ("org:3", "standing_by", 0)
    assert (named["scope"], named["phones"], named["connected"]) == (None, 1, 0)
    assert (one["lease_seconds"], one["free_in_seconds"], one["hosts"]) == (600.0, None, None)
    assert found["phones_without_worker"] == [{"phone_id": ids[2], "phone": THREE, "organization_id": 3}]
    shown = fleet("workers").out
    header, *lines = shown.splitlines()
    assert header.split() == ["WORKER", "SCOPE", "CONNECTED", "STATE", "SEEN", "UP", "VERSION", "HOSTS"]
    assert "msg2/20  org 3          0/0  standing by" in shown
    assert "msg3/30  1 named" in shown
    assert lines[-1] == f"1 phone has no worker ({THREE}): wa-sessions stats {THREE}"
    assert second.name in shown


def test_a_phone_that_no_worker_would_take(fleet: Fleet, make: Make, ids: list[int]) -> None:
    make("msg2", 20, scope="org:3")
    shown = fleet("workers").out
    assert " ".join(shown.split()).endswith(f"3 phones have no worker ({ONE}, {TWO}, {THREE}): wa-sessions run")


def test_it_fits_80_columns(fleet: Fleet, make: Make) -> None:
    make("a-host-with-a-name-that-goes-on-and-on.example.org", 4_194_304)
    make("messenger-backend-2", 123_456, scope="org:1234").silent(300)
    shown = fleet("workers").out
    assert all(len(line) <= 80 for line in shown.splitlines()), shown
    assert "a-host-with-a-name-…/4194304" in shown


def test_a_host_that_would_steer_the_terminal(fleet: Fleet, make: Make) -> None:
    make("a\x1b[2J\nb", 1).silent(300)
    assert fleet("workers").out.splitlines()[1].startswith("a\ufffd[2J\ufffdb/1  all")
    for output in (("workers",), ("workers", "-o", "tsv"), ("workers", "--json")):
        done = fleet(*output)
        assert "\x1b" not in done.out + done.err


def test_silence(fleet: Fleet, make: Make, ids: list[int]) -> None:
    worker = make("msg1", 10, lease=100)
    worker.take(ids[0])
    worker.silent(50)
    assert fleet("stats", ONE).out.count("msg1/10 (silent)") == 1
    shown = fleet("workers").out
    assert "msg1/10 is silent for 50 s: its phones can be taken in 29 s" in shown or "in 30 s" in shown
    worker.silent(85)
    assert "msg1/10 is silent for 1 min: its phones can be taken\n" in fleet("workers").out
    worker.silent(101)
    (one,) = fleet.json("workers")["workers"]
    assert (one["state"], one["phones"], one["free_in_seconds"]) == ("dead", 0, None)
    assert "msg1/10 is dead, silent for 1 min: its phones can be taken" in fleet("workers").out
    assert len(fleet.json("workers")["phones_without_worker"]) == 3


def test_one_that_was_killed_here(fleet: Fleet, make: Make, ids: list[int]) -> None:
    own = ProcessIdentity.own()
    gone = ProcessIdentity(own.host, own.pid, own.boot_id, own.pid_namespace, 1)
    make(own.host, own.pid, identity=gone).take(ids[0])
    (one,) = fleet.json("workers")["workers"]
    assert (one["state"], one["phones"]) == ("gone", 0)
    assert "is gone: it was killed" in fleet("workers").out


def test_json_is_plain(fleet: Fleet, make: Make) -> None:
    make("msg1", 10)
    (one,) = json.loads(fleet("workers", "--json").out)["workers"]
    assert UUID(one["id"])
    assert one["started_at"].endswith("Z")
