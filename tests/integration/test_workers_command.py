"""``workers`` and ``drain`` over real rows and locks; what workers do is done by stand-ins."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from support.fleet import Answer, Fleet
from support.stand_in_workers import FleetWorker, obeying

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
    for output in (("workers",), ("workers", "-o", "tsv"), ("workers", "--json"), ("drain", "zz"), ("drain", "1")):
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


def test_two_of_one_name(fleet: Fleet, make: Make, ids: list[int]) -> None:
    """Containers: the same host name and pid 1 for each."""
    one, two = make("pod", 1), make("pod", 1)
    assert states(fleet).keys() == {f"pod/1#{worker.id.hex[:8]}" for worker in (one, two)}
    refused = fleet("drain", "pod/1")
    assert refused.code == 3
    assert f"pod/1#{one.id.hex[:8]}" in refused.err
    assert f"pod/1#{two.id.hex[:8]}" in refused.err
    assert fleet.json("drain", f"pod/1#{one.id.hex[:8]}")["worker_id"] == str(one.id)
    assert fleet.json("drain", str(two.id))["worker_id"] == str(two.id)
    one.silent(1000)
    assert fleet.json("drain", "1", "--undo")["worker_id"] == str(two.id), "a dead one is not meant"


@pytest.mark.parametrize("word", ["nobody/1", "77", "zz", "", "#", "msg1"])
def test_one_that_is_not_there(fleet: Fleet, make: Make, ids: list[int], word: str) -> None:
    make("msg1", 10)
    for command in (("drain", word),):
        refused = fleet(*command)
        assert refused.code == 3
        assert "msg1/10" in refused.err
        assert refused.out == ""


def test_none_to_choose_from(fleet: Fleet) -> None:
    assert "wa-sessions run" in fleet("drain", "msg1/10").err


# --------------------------------------------------------------------------------------------------- drain


def test_a_drain(fleet: Fleet, make: Make, ids: list[int]) -> None:
    one, two = make("msg1", 10), make("msg2", 20)
    one.take(*ids)
    with obeying(one, two):
        done = fleet("drain", "msg1/10")
    assert done.code == 0, done.err
    assert done.err == "wa-sessions: msg1/10 gives its 3 phones away to msg2/20, and will take none\n"
    assert done.out.splitlines() == [
        "msg1/10 has no phones any more: it can be stopped",
        "undo: wa-sessions drain msg1/10 --undo",
    ]
    assert two.phones == set(ids)
    assert states(fleet) == {"msg1/10": "draining", "msg2/20": "serving"}
    assert "msg1/10 has given all its phones away: it can be stopped" in fleet("workers").out


def test_the_history_of_a_drain(fleet: Fleet, make: Make, ids: list[int]) -> None:
    make("msg1", 10).take(*ids[:2])
    make("msg2", 20)
    done = fleet.json("drain", "10", "--no-wait", "--reason", "new kernel")
    assert (done["changed"], done["phones"], done["left"]) == (True, 2, 2)
    again = fleet.json("drain", "10", "--no-wait")
    assert (again["changed"], again["operation"]) == (False, None)
    back = fleet.json("drain", "10", "--undo")
    assert (back["draining"], back["changed"]) == (False, True)
    assert fleet.json("drain", "10", "--undo")["changed"] is False
    undone, drained = fleet.json("operations")["operations"]
    assert (drained["operation"], drained["action"], drained["reason"]) == (done["operation"], "drain", "new kernel")
    assert [one["phone"] for one in drained["phones"]] == [ONE, TWO]
    assert (undone["operation"], undone["action"], undone["undo"]) == (back["operation"], "drain_undone", None)
    assert fleet("operations").out.count("no keys") == 2
    assert fleet("restore", done["operation"]).code == 1
    assert "wa-sessions drain" in fleet("restore", back["operation"]).err


def test_nobody_could_take_some(fleet: Fleet, make: Make, ids: list[int]) -> None:
    make("msg1", 10).take(*ids)
    make("msg2", 20, scope="org:3")
    make("msg3", 30, lease=None)
    make("msg4", 40).silent(599)
    refused = fleet("drain", "10")
    assert refused.code == 5
    assert f"no other worker could take 2 of the 3 phones of msg1/10 ({ONE}, {TWO})" in refused.err
    assert states(fleet)["msg1/10"] == "serving"
    forced = fleet("drain", "10", "--force", "--no-wait")
    assert forced.code == 0
    assert "gives its 3 phones away to msg2/20, but for 2 that nobody else could take, and" in forced.err


def test_what_nobody_could_take_is_kept(fleet: Fleet, make: Make, ids: list[int]) -> None:
    one, two = make("msg1", 10), make("msg2", 20, scope="org:3")
    one.take(*ids)
    with obeying(one, two, most=1, order=reversed):
        done = fleet("drain", "10", "--force")
    assert (done.code, one.phones) == (0, set(ids[:2]))
    assert "msg1/10 has 2 phones left, which will have no worker once it is stopped" in done.out


def test_one_without_phones_may_always_drain(fleet: Fleet, make: Make) -> None:
    make("msg1", 10)
    assert fleet.json("drain", "10")["left"] == 0


def test_a_drain_that_takes_too_long(fleet: Fleet, make: Make, ids: list[int]) -> None:
    one, two = make("msg1", 10), make("msg2", 20)
    one.take(*ids)
    with obeying(one, two, most=1):
        late = fleet("drain", "10", "--timeout", "1s")
    assert late.code == 1
    assert "msg1/10 has not given all its phones away within 1 s, 2 of 3 phones left" in late.err
    assert "wa-sessions drain msg1/10 --undo" in late.err
    assert states(fleet)["msg1/10"] == "draining"


def while_draining(fleet: Fleet, then: Callable[[], None]) -> Answer:
    threading.Timer(0.5, then).start()
    return fleet("drain", "10", "--timeout", "30s")


def test_it_dies_ends_or_is_undone_meanwhile(fleet: Fleet, make: Make, ids: list[int]) -> None:
    one, _ = make("msg1", 10), make("msg2", 20)
    one.take(*ids)
    died = while_draining(fleet, lambda: one.silent(601))
    assert (died.code, "died while it drained, 3 of 3 phones left" in died.err) == (1, True)
    one.silent(0)
    undo = "UPDATE wa_sessions.worker SET draining = false"
    undone = while_draining(fleet, lambda: fleet.sql(undo) and None)
    assert (undone.code, "has taken the drain of msg1/10 back" in undone.err) == (1, True)
    ended = while_draining(fleet, lambda: fleet.sql("DELETE FROM wa_sessions.worker WHERE id = %s", one.id) and None)
    assert (ended.code, ended.out) == (0, "msg1/10 has ended\n")


@pytest.mark.parametrize(("silent", "lease", "words"), [(700, 600.0, "is dead"), (0, None, "SIGTERM")])
def test_one_that_cannot_drain(fleet: Fleet, make: Make, silent: float, lease: float | None, words: str) -> None:
    make("msg1", 10, lease=lease).silent(silent)
    for more in ((), ("--undo",)):
        refused = fleet("drain", "msg1/10", *more)
        assert (refused.code, words in refused.err) == (1, True)


def test_stats_and_sessions_name_it_alike(fleet: Fleet, make: Make, ids: list[int]) -> None:
    one, _ = make("msg1", 10), make("msg2", 20)
    one.take(ids[0])
    assert fleet.json("stats", ONE)["worker"]["state"] == "serving"
    fleet("drain", "10", "--no-wait")
    assert fleet.json("stats", ONE)["worker"]["state"] == "draining"
    assert "  worker       msg1/10 (draining), started" in fleet("stats", ONE).out
    (listed,) = [row for row in fleet.json("sessions")["sessions"] if row["phone"] == ONE]
    assert listed["worker"]["state"] == "draining"
    header, row, *_ = fleet("sessions", "-o", "tsv").out.splitlines()
    assert dict(zip(header.split("\t"), row.split("\t"), strict=True))["worker_state"] == "draining"


def test_json_is_plain(fleet: Fleet, make: Make) -> None:
    make("msg1", 10)
    (one,) = json.loads(fleet("workers", "--json").out)["workers"]
    assert UUID(one["id"])
    assert one["started_at"].endswith("Z")
