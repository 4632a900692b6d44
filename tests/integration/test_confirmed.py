"""What was confirmed is what is changed, for every verb, or nothing is, whatever happens before the answer."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.backup_fixtures import Key
from support.corpus import SEVENTH, SEVENTH_PAIRED
from support.fleet import Answer, Fleet
from support.stand_in_workers import FleetWorker
from support.store import fill_device

from wa_sessions.cli import terminal
from wa_sessions.keys.whatsmeow_tables import TABLES

ADDED = ("77059000001", "77059000002", "77059000003")
STOPPED = "--process-stopped"
_NUMBER = "split_part(split_part({}, '@', 1), ':', 1)"
_TABLES = {
    'public."OrganizationPhone"': _NUMBER.format('"phoneJid"'),
    "public.baileys_auth": '"phoneJid"',
    **{f"whatsmeow.{table.name}": _NUMBER.format(f'"{table.owner}"') for table in reversed(TABLES)},
}
"""Where a phone's rows are, parents first, and its number in each."""


def _rows(fleet: Fleet, number: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of a phone, whole."""
    return {
        table: [
            found["row"]
            for found in fleet.sql(f"SELECT to_jsonb(t) AS row FROM {table} AS t WHERE {of} = %s ORDER BY 1", number)
        ]
        for table, of in _TABLES.items()
    }


def _delete(fleet: Fleet, number: str) -> None:
    for table, of in reversed(_TABLES.items()):
        fleet.sql(f"DELETE FROM {table} WHERE {of} = %s", number)


def _insert(fleet: Fleet, rows: dict[str, list[dict[str, Any]]]) -> None:
    for table, found in rows.items():
        statement = f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb)"
        fleet.sql(statement, json.dumps(found))


def _numbers(fleet: Fleet) -> set[str]:
    rows = fleet.sql(f"""SELECT {_NUMBER.format('"phoneJid"')} AS number FROM public."OrganizationPhone" """)
    return {row["number"] for row in rows}


@dataclass
class Question:
    """Stands where an operator is asked: something happens to phones, and the answer is yes."""

    fleet: Fleet
    happens: Callable[[], object]
    asked: list[str] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)

    def __call__(self, question: str, *_count: int, yes: bool) -> None:
        assert not yes
        self.asked.append(question)
        self.happens()
        self.before = self.state()

    def state(self) -> dict[str, Any]:
        return {number: _rows(self.fleet, number) for number in _numbers(self.fleet)}

    def changed(self) -> set[str]:
        after = self.state()
        numbers = self.before.keys() | after.keys()
        return {number for number in numbers if self.before.get(number) != after.get(number)}


Asking = Callable[[Callable[[], object]], Question]


@pytest.fixture
def asked(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Asking:
    def asking(happens: Callable[[], object]) -> Question:
        question = Question(fleet, happens)
        monkeypatch.setattr(terminal, "confirm", question)
        monkeypatch.setattr(terminal, "confirm_count", question)
        return question

    return asking


def _adopted(fleet: Fleet) -> None:
    fleet("adopt", "all", STOPPED, "--yes")


def _closed(fleet: Fleet) -> str:
    return str(fleet.json("force-close", "all", "--logout", STOPPED, "--yes")["operation"])


def _saved(fleet: Fleet, folder: Path) -> str:
    file = str(folder / "saved.age")
    fleet.json("backup", "all", file)
    return file


def _words(fleet: Fleet, verb: str, folder: Path) -> tuple[str, ...]:
    """The command for all phones that it can be for, and what has to be there for it."""
    match verb:
        case "clean-app-state" | "clean-sessions":
            return verb, "all", STOPPED
        case "force-close":
            return verb, "all", "--logout", STOPPED
        case "reset-status":
            return verb, "all", "loading"
        case "remove":
            for number in ADDED:
                fleet.json("add", number, "--org", "5")
            return verb, "all", "--org", "5"
        case "adopt":
            return verb, "all", STOPPED
        case "return":
            _adopted(fleet)
            return verb, "all"
        case "restore":
            return verb, _closed(fleet), "--overwrite", STOPPED
        case _:
            file = _saved(fleet, folder)
            _closed(fleet)
            return "restore", "--file", file, "--overwrite", STOPPED


MANY = (
    "clean-app-state",
    "clean-sessions",
    "force-close",
    "reset-status",
    "remove",
    "adopt",
    "return",
    "restore",
    "restore --file",
)


HAPPENINGS = ("removed", "assigned", "moved", "added")


def _happen(fleet: Fleet, number: str, happening: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    of = f"{_NUMBER.format(chr(34) + 'phoneJid' + chr(34))} = %s"
    other = """CASE "connectionType" WHEN 'baileys' THEN 'neonize' ELSE 'baileys' END"""
    match happening:
        case "removed":
            _delete(fleet, number)
        case "added":
            _insert(fleet, rows)
        case "assigned":
            fleet.sql(f'UPDATE public."OrganizationPhone" SET "connectionType" = {other} WHERE {of}', number)
        case "moved":
            fleet.sql(f'UPDATE public."OrganizationPhone" SET "organizationId" = 8 WHERE {of}', number)
            fleet.sql('UPDATE public.baileys_auth SET "organizationId" = 8 WHERE "phoneJid" = %s', number)
        case _:
            fleet.sql("UPDATE whatsmeow.whatsmeow_sessions SET session = session || ' '::bytea")
            another = (
                """SELECT value FROM public.baileys_auth WHERE "phoneJid" = %s AND key LIKE 'session-%%' LIMIT 1"""
            )
            mine = """"phoneJid" = %s AND key LIKE 'session-%%'"""
            used = f"UPDATE public.baileys_auth SET value = ({another}) WHERE {mine}"
            fleet.sql(used, number, number)


def _named(answer: Answer) -> set[str]:
    """Those whom a dry run names, which is what is asked about."""
    return {phone["phone"] for phone in json.loads(answer.out)["phones"]}


@pytest.mark.parametrize("verb", MANY)
def test_many_phones(fleet: Fleet, key: Key, tmp_path: Path, verb: str, asked: Asking) -> None:
    words = _words(fleet, verb, tmp_path)
    number = ADDED[0] if verb == "remove" else SEVENTH_PAIRED
    rows = _rows(fleet, number)
    for happening in HAPPENINGS[:-1] if verb.startswith("restore") else HAPPENINGS:
        if happening == "added":
            _delete(fleet, number)
        assert (number in _named(fleet(*words, "--dry-run", "--json"))) == (happening != "added")
        question = asked(partial(_happen, fleet, number, happening, rows))
        answer = fleet(*words)
        assert (answer.code, question.changed(), len(question.asked)) == (1, set(), 1), (happening, answer)
        assert number in answer.err, (happening, answer)
        _delete(fleet, number)
        _insert(fleet, rows)
    confirmed = _named(fleet(*words, "--dry-run", "--json"))
    question = asked(lambda: None)
    answer = fleet(*words)
    assert (question.changed(), len(question.asked)) == (confirmed, 1), answer


def test_a_phone_that_is_there_again_before_the_answer_is_not_restored(fleet: Fleet, asked: Asking) -> None:
    """It was gone when it was planned, so it stays as it is; the others come back."""
    operation = _closed(fleet)
    rows = _rows(fleet, SEVENTH_PAIRED)
    _delete(fleet, SEVENTH_PAIRED)
    question = asked(partial(_insert, fleet, rows))
    answer = fleet("restore", operation, "--overwrite", STOPPED)
    assert (answer.code, len(question.asked)) == (1, 1), answer
    assert f"the phone {SEVENTH_PAIRED}" in answer.err, answer
    closed = fleet.sql("SELECT number FROM wa_sessions.operation_phone WHERE operation_id = %s AND keys > 0", operation)
    assert question.changed() == {row["number"] for row in closed} - {SEVENTH_PAIRED}


def test_operations_that_are_purged(fleet: Fleet, asked: Asking) -> None:
    young, *ids = [
        str(fleet.json(verb, "all", STOPPED, "--yes")["operation"]) for verb in ("clean-app-state", "clean-sessions")
    ] + [_closed(fleet)]
    older = "UPDATE wa_sessions.operation SET at = at - interval '20 days' WHERE id = %s"
    for operation in ids:
        fleet.sql(older, operation)
    words = ("quarantine", "purge", "--older-than", "14d")
    happenings: dict[str, Callable[[], object]] = {
        ids[1]: lambda: fleet.json("restore", ids[1], "--phone", SEVENTH, STOPPED),
        young: lambda: fleet.sql(older, young),
    }
    for operation, happens in happenings.items():
        question = asked(happens)
        answer = fleet(*words)
        assert (answer.code, len(question.asked), operation in answer.err) == (1, 1, True), answer
        assert fleet.sql("SELECT 1 FROM wa_sessions.operation_phone WHERE purged_at IS NOT NULL") == []
    fleet.sql("UPDATE wa_sessions.operation SET at = clock_timestamp() WHERE id = %s", young)
    question = asked(lambda: None)
    answer = fleet(*words)
    assert (answer.code, len(question.asked)) == (0, 1), answer
    assert [fleet.quarantined(operation) for operation in ids] == [0, 0]
    assert fleet.quarantined(young) > 0


def test_a_phone_of_a_worker_that_is_moved_before_the_answer(fleet: Fleet, asked: Asking) -> None:
    """Its worker is not even asked."""
    phone_id = _rows(fleet, SEVENTH)['public."OrganizationPhone"'][0]["id"]
    with contextlib.closing(FleetWorker(fleet.database, "kiosk", 1)) as worker:
        worker.take(phone_id)
        question = asked(partial(_happen, fleet, SEVENTH, "moved", {}))
        answer = fleet("force-close", SEVENTH, "--logout", STOPPED)
        assert (answer.code, question.changed(), len(question.asked)) == (1, set(), 1), answer
        assert f"{SEVENTH}: its organization was" in answer.err


ONE = {
    "clean-app-state": (SEVENTH, STOPPED),
    "clean-sessions": (SEVENTH, STOPPED),
    "force-close": (SEVENTH, "--logout", STOPPED),
    "reset-status": (SEVENTH, "loading"),
    "remove": (ADDED[0],),
    "adopt": (SEVENTH, STOPPED),
    "return": (SEVENTH,),
    "restore": ("{operation}", "--phone", SEVENTH, "--overwrite", STOPPED),
    "restore --file": ("--file", "{file}", "--phone", SEVENTH, "--overwrite", STOPPED),
    "export": (SEVENTH, "{file}", STOPPED),
    "import": ("{file}", STOPPED),
}
CONVERTED = ("adopt", "return")


def _words_of_one(fleet: Fleet, verb: str, file: str) -> tuple[str, ...]:
    """The command for one phone, and what has to be there for it."""
    operation = ""
    match verb:
        case "remove":
            fleet.json("add", ADDED[0], "--org", "5")
        case "return":
            fleet.json("adopt", SEVENTH, STOPPED, "--yes")
        case "import":
            fleet.json("export", SEVENTH, file, STOPPED, "--yes")
        case "restore":
            operation = _closed(fleet)
        case "restore --file":
            fleet.json("backup", "all", file)
            _closed(fleet)
        case _:
            pass
    return verb.split()[0], *(word.format(file=file, operation=operation) for word in ONE[verb])


@pytest.mark.parametrize("verb", ONE)
def test_one_phone(fleet: Fleet, key: Key, tmp_path: Path, verb: str, asked: Asking) -> None:
    words = _words_of_one(fleet, verb, str(tmp_path / "phone.age"))
    number = ADDED[0] if verb == "remove" else SEVENTH
    rows = _rows(fleet, number)
    for happening in (*HAPPENINGS[:-1], *(("used",) if verb in CONVERTED else ())):
        question = asked(partial(_happen, fleet, number, happening, rows))
        answer = fleet(*words)
        assert (answer.code != 0, question.changed(), len(question.asked)) == (True, set(), 1), (happening, answer)
        assert number in answer.err, (happening, answer)
        _delete(fleet, number)
        _insert(fleet, rows)
    question = asked(lambda: None)
    answer = fleet(*words)
    assert (answer.code, question.changed()) == (0, {number}), answer


def test_an_import_of_a_phone_that_is_added_before_the_answer(
    fleet: Fleet, key: Key, tmp_path: Path, asked: Asking
) -> None:
    file = str(tmp_path / "phone.age")
    fleet.json("export", SEVENTH, file, STOPPED, "--yes")
    row = _rows(fleet, SEVENTH)
    _delete(fleet, SEVENTH)
    question = asked(lambda: _insert(fleet, row))
    answer = fleet("import", file)
    assert (answer.code, question.changed()) == (1, set()), answer
    assert SEVENTH in answer.err


def test_keys_of_a_device_that_came_before_the_answer_are_not_put_over_it(fleet: Fleet, asked: Asking) -> None:
    """Somebody pairs the number here while its adoption is asked about."""

    def happens() -> None:
        with fleet.database.transaction() as conn:
            fill_device(conn, f"{SEVENTH}:3@s.whatsapp.net")

    question = asked(happens)
    answer = fleet("adopt", SEVENTH, STOPPED)
    assert (answer.code, question.changed()) == (1, set()), answer
