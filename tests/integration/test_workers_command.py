"""``workers``, ``drain`` and ``move`` over real rows and locks; what workers do is done by stand-ins."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from support.fleet import Answer, Fleet
from support.stand_in_workers import FleetWorker, obeying

import wa_sessions
from wa_sessions.actions import ownership
from wa_sessions.cli.setup.suggest import answer
from wa_sessions.db import backend, health, leases, phones
from wa_sessions.db.gateway import Database
from wa_sessions.db.health import HealthRow
from wa_sessions.errors import OwnedByAnother
from wa_sessions.health.reconnect import State
from wa_sessions.process_identity import ProcessIdentity

Make = Callable[..., FleetWorker]
ONE, TWO, THREE = "77051234561", "77051234562", "77051234563"


@pytest.fixture
def fleet(database: Database, database_url: str, capsys: pytest.CaptureFixture[str]) -> Fleet:
    return Fleet(database, database_url, capsys)


@pytest.fixture
def make(database: Database) -> Iterator[Make]:
    made: list[FleetWorker] = []

    def one(host: str, pid: int, **how: Any) -> FleetWorker:
        made.append(FleetWorker(database, host, pid, **how))
        return made[-1]

    yield one
    for worker in made:
        worker.close()


@pytest.fixture
def ids(database: Database) -> list[int]:
    """Two phones of organization 1, one of organization 3."""
    with database.transaction() as conn:
        found = backend.detect(conn)
        return [phones.add(conn, found, number, org).id for number, org in ((ONE, 1), (TWO, 1), (THREE, 3))]


def connected(database: Database, phone_id: int) -> None:
    with database.transaction() as conn:
        row = conn.execute("SELECT now()").fetchone()
        assert row
        now = row["now"]
        health.save(conn, HealthRow(phone_id, 1, 0, 0, (), None, None, 0, 0, State.CONNECTED, None, now, None, None))


def states(fleet: Fleet) -> dict[str, str]:
    return {one["worker"]: one["state"] for one in fleet.json("workers")["workers"]}


# ------------------------------------------------------------------------------------------------ workers


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


def test_it_fits_80_columns(fleet: Fleet, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
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


@pytest.mark.parametrize("other", ["container", "boot"])
def test_one_of_the_same_name_elsewhere_is_not_taken_for_killed(
    fleet: Fleet, make: Make, ids: list[int], database: Database, other: str
) -> None:
    """Containers of one machine, and a machine after its start, may have the same name and other processes."""
    own = ProcessIdentity.own()
    boot_id, namespace = (own.boot_id, "pid:[1]") if other == "container" else ("another", own.pid_namespace)
    make(own.host, own.pid, identity=ProcessIdentity(own.host, own.pid, boot_id, namespace, 1)).take(ids[0])
    (one,) = fleet.json("workers")["workers"]
    assert (one["state"], one["phones"]) == ("serving", 1)
    with database.transaction() as conn:
        assert ids[0] in ownership.live_owners(conn)
        with pytest.raises(OwnedByAnother):
            leases.block(conn, ids[0])


def test_of_one_that_ended_only_what_is_true_is_said(fleet: Fleet, make: Make, ids: list[int]) -> None:
    own = ProcessIdentity.own()
    killed = make(own.host, own.pid, identity=ProcessIdentity(own.host, own.pid, own.boot_id, own.pid_namespace, 1))
    dead, silent, other = make("msg1", 10, lease=100), make("msg2", 20, lease=100), make("msg3", 30)
    fleet.sql("UPDATE wa_sessions.worker SET hosts = 1")
    killed.take(ids[0])
    assert f"{killed.name} is gone: it was killed, and others take its phones\n" in fleet("workers").out
    killed.release(ids[0])
    dead.silent(101)
    silent.silent(50)
    other.take(*ids)
    notes = fleet("workers").out.splitlines()[-3:]
    assert sorted(notes) == sorted(
        [f"{killed.name} is gone: it was killed", "msg1/10 is dead, silent for 1 min", "msg2/20 is silent for 50 s"]
    )
    found = {one["worker"]: one["hosts"] for one in fleet.json("workers")["workers"]}
    assert found == {killed.name: 0, "msg1/10": 0, "msg2/20": 1, "msg3/30": 1}


def test_a_silent_worker_whose_hosts_have_ended_has_nothing_connected(fleet: Fleet, make: Make, ids: list[int]) -> None:
    worker = make("msg1", 10, lease=100)
    fleet.sql("UPDATE wa_sessions.worker SET hosts = 1")
    worker.take(ids[0])
    connected(fleet.database, ids[0])
    for seconds, expected in ((60, ("silent", 1, 1, 1)), (72, ("silent", 1, 0, 0))):
        worker.silent(seconds)
        (one,) = fleet.json("workers")["workers"]
        assert tuple(one[name] for name in ("state", "phones", "connected", "hosts")) == expected


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
    for command in (("drain", word), ("move", ONE, "--to", word)):
        refused = fleet(*command)
        assert refused.code == 3
        assert "msg1/10" in refused.err
        assert refused.out == ""


def test_none_to_choose_from(fleet: Fleet) -> None:
    assert "wa-sessions run" in fleet("drain", "msg1/10").err


# -------------------------------------------------------------------------------------------------- drain


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
    assert (drained["operation"], drained["action"]) == (done["operation"], "drain")
    assert (drained["reason"], drained["worker"]) == ("drain of msg1/10: new kernel", "msg1/10")
    assert [one["phone"] for one in drained["phones"]] == [ONE, TWO]
    assert (undone["operation"], undone["action"], undone["undo"]) == (back["operation"], "drain_undone", None)
    assert (undone["worker"], drained["undo"]) == ("msg1/10", None)
    assert [line.split()[-1] for line in fleet("operations").out.splitlines()] == ["UNDO", "over", "over"]
    fleet.json("drain", "10", "--no-wait")
    undos = [one["undo"] for one in fleet.json("operations")["operations"]]
    assert undos == ["wa-sessions drain msg1/10 --undo", None, None]
    assert re.search(r"  drain  +msg1/10  .*  drain --undo$", fleet("operations").out, re.MULTILINE)
    for verb in ("restore", "unlink"):
        refused = fleet(verb, done["operation"])
        assert (refused.code, "took no keys: wa-sessions drain msg1/10" in refused.err) == (1, True)


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
    with obeying(one, two):
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


def while_draining(fleet: Fleet, then: Callable[[], object]) -> Answer:
    threading.Timer(0.5, then).start()
    return fleet("drain", "10", "--timeout", "30s")


def test_it_dies_ends_or_is_undone_meanwhile(fleet: Fleet, make: Make, ids: list[int]) -> None:
    one, _ = make("msg1", 10), make("msg2", 20)
    one.take(*ids)
    died = while_draining(fleet, lambda: one.silent(601))
    assert (died.code, "died while it drained, 3 of 3 phones left" in died.err) == (1, True)
    one.silent(0)
    undo = "UPDATE wa_sessions.worker SET draining = false"
    undone = while_draining(fleet, lambda: fleet.sql(undo))
    assert (undone.code, "has taken the drain of msg1/10 back" in undone.err) == (1, True)
    ended = while_draining(fleet, lambda: fleet.sql("DELETE FROM wa_sessions.worker WHERE id = %s", one.id))
    assert (ended.code, ended.out) == (0, "msg1/10 has ended\n")


@pytest.mark.parametrize(("silent", "lease", "words"), [(700, 600.0, "is dead"), (0, None, "SIGTERM")])
def test_one_that_cannot_drain(fleet: Fleet, make: Make, silent: float, lease: float | None, words: str) -> None:
    make("msg1", 10, lease=lease).silent(silent)
    for more in ((), ("--undo",)):
        refused = fleet("drain", "msg1/10", *more)
        assert (refused.code, words in refused.err) == (1, True)


# --------------------------------------------------------------------------------------------------- move


def test_a_move(fleet: Fleet, make: Make, ids: list[int]) -> None:
    one, two = make("msg1", 10), make("msg2", 20)
    one.take(ids[0])
    with obeying(one, two):
        done = fleet.json("move", ONE, "--to", "msg2/20")
        assert (done["worker"], done["worker_before"], done["already"]) == ("msg2/20", "msg1/10", False)
        assert 0 <= done["alone_seconds"] < 20
        assert 0 <= done["seconds"] < 20
        again = fleet("move", ONE, "--to", "20")
        assert (again.code, again.out) == (0, f"msg2/20 has {ONE} already\n")
        back = fleet("move", ONE, "--to", "10")
    assert back.out.startswith(f"msg1/10 has {ONE} now (before: msg2/20); nobody had it for ")
    (lease,) = fleet.sql("SELECT worker_id, epoch, wanted_by FROM wa_sessions.lease")
    assert (lease["worker_id"], lease["epoch"], lease["wanted_by"]) == (one.id, 3, None)
    kinds = [
        (event["kind"], event["detail"]["to"]) for event in fleet.sql("SELECT * FROM wa_sessions.event ORDER BY id")
    ]
    assert kinds == [("move_asked", "msg2/20"), ("move_asked", "msg1/10")]
    assert "to be run by worker msg2/20 instead of msg1/10, asked for by " in fleet("timeline", ONE).out


def test_a_phone_that_nobody_had(fleet: Fleet, make: Make, ids: list[int]) -> None:
    two = make("msg2", 20)
    with obeying(two):
        done = fleet.json("move", ONE, "--to", "msg2/20")
    assert (done["worker_before"], done["alone_seconds"]) == (None, None)
    assert two.phones == {ids[0]}


def test_a_move_that_takes_too_long_is_asked_for_no_more(fleet: Fleet, make: Make, ids: list[int]) -> None:
    make("msg1", 10).take(ids[0])
    make("msg2", 20)
    late = fleet("move", ONE, "--to", "20", "--timeout", "1s")
    assert late.code == 1
    assert f"msg2/20 has not taken {ONE} within 1 s: msg1/10 has it" in late.err
    assert f"wa-sessions stats {ONE}" in late.err
    assert fleet.sql("SELECT wanted_by, wanted_until FROM wa_sessions.lease") == [
        {"wanted_by": None, "wanted_until": None}
    ]


def test_it_is_released_and_not_taken(fleet: Fleet, make: Make, ids: list[int]) -> None:
    one, _ = make("msg1", 10), make("msg2", 20)
    one.take(ids[0])
    threading.Timer(0.3, one.release, (ids[0],)).start()
    assert "nobody has it now" in fleet("move", ONE, "--to", "20", "--timeout", "1s").err


def test_somebody_asks_for_something_else(fleet: Fleet, make: Make, ids: list[int]) -> None:
    make("msg1", 10).take(ids[0])
    make("msg2", 20)
    other = "UPDATE wa_sessions.lease SET wanted_by = gen_random_uuid()"
    threading.Timer(0.3, fleet.sql, (other,)).start()
    refused = fleet("move", ONE, "--to", "20")
    assert (refused.code, "somebody else has asked" in refused.err) == (1, True)
    assert fleet.sql("SELECT wanted_by FROM wa_sessions.lease")[0]["wanted_by"] is not None


@pytest.mark.parametrize(
    ("how", "then", "words"),
    [
        ({"scope": "org:3"}, "", "serves org 3, and 77051234561 is of organization 1"),
        ({"scope": None}, "", "runs only phones that it was given by name"),
        ({"lease": None}, "", "runs version 0.2.0, which takes no part"),
        ({}, "draining = true", "wa-sessions drain msg2/20 --undo"),
        ({}, "heartbeat_at = now() - interval '5 min'", "no sign of life for 30"),
        ({}, "heartbeat_at = now() - interval '15 min'", "no sign of life for 90"),
    ],
)
def test_one_that_cannot_take_it(
    fleet: Fleet, make: Make, ids: list[int], how: dict[str, Any], then: str, words: str
) -> None:
    make("msg1", 10).take(ids[0])
    two = make("msg2", 20, **how)
    if then:
        fleet.sql(f"UPDATE wa_sessions.worker SET {then} WHERE id = %s", two.id)
    refused = fleet("move", ONE, "--to", "msg2/20")
    assert (refused.code, words in refused.err) == (1, True), refused.err
    assert fleet.sql("SELECT wanted_by FROM wa_sessions.lease")[0]["wanted_by"] is None


def test_an_older_version_gives_nothing_away(fleet: Fleet, make: Make, ids: list[int]) -> None:
    old, _ = make("msg1", 10, lease=None), make("msg2", 20)
    lease = "INSERT INTO wa_sessions.lease VALUES (%s, %s, 1, clock_timestamp() + interval '30 s')"
    fleet.sql(lease, ids[0], old.id)
    assert states(fleet)["msg1/10"] == "serving"
    assert "msg1/10 is of an older version: it takes no part in drain and move" in fleet("workers").out
    refused = fleet("move", ONE, "--to", "20")
    assert (refused.code, "of a version that gives nothing away" in refused.err) == (1, True)


def test_a_phone_that_is_not_ours(fleet: Fleet, make: Make, ids: list[int]) -> None:
    make("msg1", 10)
    fleet.sql("""UPDATE public."OrganizationPhone" SET "connectionType" = 'baileys' WHERE id = %s""", ids[0])
    assert fleet("move", ONE, "--to", "10").code == 5
    assert fleet("move", "77059999999", "--to", "10").code == 3
    assert fleet("move", TWO, "--to", "10", "--timeout", "soon").code == 2


# ------------------------------------------------------------------------------- where else workers are named


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


def test_workers_are_offered_to_the_tab_key(fleet: Fleet, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", fleet.url)
    make("msg1", 10)
    make("msg2", 20, scope="org:3").silent(1000)
    make("msg3", 30, scope="org:3")
    assert answer("bash", ["drain", ""]).split() == ["msg1/10", "msg3/30"]
    assert answer("fish", ["move", ONE, "--to", "msg3"]) == "msg3/30\t0.2.0, org 3\n"


def test_from_python(fleet: Fleet, make: Make, ids: list[int]) -> None:
    one, two = make("msg1", 10), make("msg2", 20)
    one.take(*ids)
    with obeying(one, two):
        assert wa_sessions.move_phone(ids[0], "msg2/20", database_url=fleet.url).worker.id == two.id
        assert wa_sessions.drain_worker("msg1/10", database_url=fleet.url).left == 0
    listed = wa_sessions.list_workers(database_url=fleet.url)
    assert [(worker.name, worker.phones) for worker in listed.workers] == [("msg1/10", 0), ("msg2/20", 3)]
    assert wa_sessions.drain_worker("msg1/10", undo=True, database_url=fleet.url).draining is False
    with pytest.raises(wa_sessions.WorkerNotFound):
        wa_sessions.drain_worker("msg9/9", database_url=fleet.url)


def test_json_is_plain(fleet: Fleet, make: Make) -> None:
    make("msg1", 10)
    (one,) = json.loads(fleet("workers", "--json").out)["workers"]
    assert UUID(one["id"])
    assert one["started_at"].endswith("Z")
