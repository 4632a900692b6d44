"""The files of SQL and the code that uses them agree."""

import re
from pathlib import Path

import pytest

import wa_sessions.db
from wa_sessions.db.sql import queries

ROOM = Path(wa_sessions.db.__file__).parent
SUBJECTS = sorted(path.stem for path in (ROOM / "queries").glob("*.sql"))


def _used(subject: str) -> set[str]:
    blocks: set[str] = set()
    for module in ROOM.glob("*.py"):
        text = module.read_text()
        names = {f'queries("{subject}")'} | set(re.findall(rf'(\w+) = queries\("{subject}"\)', text))
        for name in names:
            blocks |= set(re.findall(rf"(?<!\w){re.escape(name)}\.(\w+)", text))
    return blocks


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_block_is_used_and_every_used_block_exists(subject: str) -> None:
    assert _used(subject) == set(vars(queries(subject)))


@pytest.mark.parametrize("subject", SUBJECTS)
def test_no_name_stands_twice_in_a_file(subject: str) -> None:
    names = re.findall(r"^-- name: (.*)$", (ROOM / "queries" / f"{subject}.sql").read_text(), re.MULTILINE)
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"\w+", name) for name in names)


def test_sql_stands_in_files_alone() -> None:
    for module in ROOM.glob("*.py"):
        assert not re.search(r"\b(SELECT|INSERT INTO|DELETE FROM|UPDATE) ", module.read_text()), module.name


def test_a_number_is_never_matched_by_its_start() -> None:
    for path in (ROOM / "queries").glob("*.sql"):
        text = path.read_text().lower().replace("(like {source} including all)", "")  # a table's shape
        assert "like" not in text, path.name


def test_an_unknown_block_is_named() -> None:
    with pytest.raises(AttributeError, match="no query is named nonsense"):
        _ = queries("phones").nonsense
