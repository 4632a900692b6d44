"""Reading on in a log that is cut anywhere, renamed, truncated and packed meanwhile: the same totals, nothing twice."""

import gzip
import os
import shutil
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import backend_logs

from wa_sessions.errors import UsageError
from wa_sessions.logs import files
from wa_sessions.logs.messages import of_senders
from wa_sessions.logs.report import LogReport, report
from wa_sessions.logs.scan_result import ScanResult
from wa_sessions.logs.scanner import Scanner

if TYPE_CHECKING:
    from wa_sessions.logs.positions import Position

LOG = backend_logs.content("out")[:30_000] + backend_logs.content("error")[:20_000]
LOG = LOG[: LOG.index(b"\n", LOG.rindex(b" [as awaitable]")) + 1]


def total(found: ScanResult) -> LogReport:
    whole = ScanResult()
    whole.extend(found)
    whole.finish()
    return report([whole], of_senders([whole]), {}, {})


class Reader:
    """Reads one log again and again."""

    def __init__(self, path: Path) -> None:
        self.path, self.found, self.lost = path, ScanResult(), 0
        self.known: dict[str, Position] = {}

    def look(self) -> None:
        name = str(self.path)
        step = files.read_on([name], self.known)[name]
        self.found.extend(step.found)
        self.lost += step.lost
        self.known[name] = step.position


class Owner:
    """Writes a log, and does to it what pm2 and logrotate do."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0

    def write(self, content: bytes) -> None:
        self.file.write(content)
        self.file.flush()

    def __enter__(self) -> Self:
        self.file = self.path.open("ab")
        return self

    def __exit__(self, *_error: object) -> None:
        self.file.close()

    def aside(self) -> Path:
        self.number += 1
        return self.path.with_name(f"{self.path.stem}__2026-11-{self.number:02}_00-00-00.log")

    def rename(self) -> None:
        """logrotate: the process writes on under the new name until it is told to open the log again."""
        self.path.rename(self.aside())

    def reopen(self) -> None:
        self.file.close()
        self.file = self.path.open("ab")

    def copy_and_truncate(self, *, packed: bool = False) -> None:
        """pm2-logrotate."""
        aside = self.aside()
        shutil.copyfile(self.path, aside)
        if packed:
            aside.with_name(f"{aside.name}.gz").write_bytes(gzip.compress(aside.read_bytes()))
            aside.unlink()
        self.file.truncate(0)


def classes() -> list[int]:
    """Offsets inside a line, a stack, a letter and an object."""
    stack = LOG.index(b"    at ")
    letter = LOG.index("Закрытие".encode()) + 1
    return [LOG.index(b"\n") + 9, stack + 20, letter, LOG.index(b'{"level":50') + 40, LOG.index(b'"stack":') + 30]


@pytest.mark.parametrize("at", classes())
@pytest.mark.parametrize("how", ["append", "rename", "copy", "pack", "truncate"])
def test_cut_in_each_kind_of_place(tmp_path: Path, at: int, how: str) -> None:
    path = tmp_path / "app-out.log"
    reader = Reader(path)
    with Owner(path) as owner:
        _written_in_two(owner, reader, at, how)
    assert total(reader.found) == WHOLE


def _written_in_two(owner: Owner, reader: Reader, at: int, how: str) -> None:
    owner.write(LOG[:at])
    reader.look()
    match how:
        case "rename":
            owner.rename()
            reader.look()
            end = LOG.index(b"\n", at) + 1
            owner.write(LOG[at:end])
            reader.look()
            owner.reopen()
            reader.look()
            at = end
        case "copy" | "pack":
            owner.copy_and_truncate(packed=how == "pack")
        case "truncate":
            owner.file.truncate(0)
            reader.look()
        case _:
            pass
    owner.write(LOG[at:])
    for _ in range(2):
        reader.look()


@given(st.data())
def test_whatever_happens_to_it(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Rotated is a log of which something was read: by that it is known again."""
    path = tmp_path_factory.mktemp("logs") / "app-error.log"
    reader = Reader(path)
    start = LOG.index(b"\n") + 1
    cuts = sorted(data.draw(st.lists(st.integers(start, len(LOG)), max_size=8)))
    with Owner(path) as owner:
        owner.write(LOG[:start])
        reader.look()
        for begin, end in zip([start, *cuts], [*cuts, len(LOG)], strict=True):
            owner.write(LOG[begin:end])
            position = reader.known[str(path)]
            known = position.read_to > 0 and position.inode == path.stat().st_ino
            whole_line = LOG[end - 1 : end] == b"\n"
            actions = ["look", *(["copy", "pack"] if known else []), *(["rename"] if known and whole_line else [])]
            match data.draw(st.sampled_from(actions)):
                case "copy":
                    owner.copy_and_truncate()
                case "pack":
                    owner.copy_and_truncate(packed=True)
                case "rename":
                    owner.rename()
                    owner.reopen()
                case _:
                    pass
            reader.look()
    assert total(reader.found) == WHOLE
    assert reader.lost == 0


def test_what_was_truncated_unread_is_told(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(LOG)
    reader = Reader(path)
    reader.look()
    path.write_bytes(LOG[: len(LOG) // 3])
    reader.look()
    assert reader.lost == 1


def test_a_log_that_grew_beyond_the_position_after_it_was_truncated(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    reader = Reader(path)
    middle = LOG.index(b"\n", len(LOG) // 4) + 1
    with Owner(path) as owner:
        owner.write(LOG[:middle])
        reader.look()
        owner.copy_and_truncate()
        owner.write(LOG[middle:])
        assert path.stat().st_size > middle
        reader.look()
    assert total(reader.found) == WHOLE


def test_the_log_of_another_process_is_not_taken_for_a_rotated_one(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(LOG)
    (tmp_path / "beside.log").write_bytes(LOG + LOG)
    reader = Reader(path)
    reader.look()
    path.write_bytes(b"")
    reader.look()
    path.write_bytes(b"hello\n")
    reader.look()
    assert total(reader.found) == WHOLE


def _with_more(path: Path, reader: Reader) -> None:
    path.write_bytes(LOG)
    reader.look()


def test_a_rotated_log_that_is_named_too_is_read_once(tmp_path: Path) -> None:
    """As by ``logs ~/.pm2/logs/*.log --record`` from cron."""
    path = tmp_path / "m-error.log"
    known: dict[str, Position] = {}
    found = ScanResult()

    def look() -> None:
        names = [str(name) for name in sorted(tmp_path.glob("*.log"))]
        for name, step in files.read_on(names, known).items():
            found.extend(step.found)
            known[name] = step.position

    middle = LOG.index(b"\n", len(LOG) // 2) + 1
    with Owner(path) as owner:
        owner.write(LOG[:middle])
        look()
        owner.copy_and_truncate()
        owner.write(LOG[middle:])
        for _ in range(3):
            look()
    assert total(found) == WHOLE


def test_two_rotations_between_two_looks(tmp_path: Path) -> None:
    path = tmp_path / "m-error.log"
    reader = Reader(path)
    cuts = [LOG.index(b"\n", at) + 1 for at in (10_000, 15_000, 20_000)]
    path.write_bytes(LOG[: cuts[0]])
    reader.look()
    for number, (begin, end) in enumerate(pairwise(cuts), 1):
        with path.open("ab") as file:
            file.write(LOG[begin:end])
        aside = path.with_name(f"m-error__2026-11-2{number}_00-00-00.log")
        path.rename(aside)
        os.utime(aside, ns=(number * 10**9, number * 10**9))
        path.touch()
    path.write_bytes(LOG[cuts[2] :])
    reader.look()
    assert (total(reader.found), reader.lost) == (WHOLE, 0)


def test_an_empty_log_has_no_predecessor(tmp_path: Path) -> None:
    path = tmp_path / "m-error.log"
    path.touch()
    (tmp_path / "m-error.log.1").write_bytes(LOG)
    reader = Reader(path)
    reader.look()
    path.unlink()
    reader.look()
    assert reader.found.events == 0


def test_an_archive_that_is_only_half_written_is_not_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "m-error.log"
    reader = Reader(path)
    _with_more(path, reader)
    (tmp_path / "m-error.log.1.gz").write_bytes(gzip.compress(LOG + LOG)[:-40])
    path.write_bytes(b"")
    reader.look()
    path.write_bytes(b"hello\n")
    reader.look()
    assert total(reader.found) == WHOLE
    with pytest.raises(UsageError, match="no whole gzip file"):
        files.read_on([str(tmp_path / "m-error.log.1.gz")], {})


def test_a_link_that_leads_to_the_next_log(tmp_path: Path) -> None:
    """``current.log`` of rotating loggers."""
    (tmp_path / "logs").mkdir()
    first, second, link = tmp_path / "logs" / "a-1.log", tmp_path / "logs" / "a-2.log", tmp_path / "current.log"
    middle = LOG.index(b"\n", len(LOG) // 2) + 1
    first.write_bytes(LOG[:200])
    link.symlink_to(first)
    reader = Reader(link)
    reader.look()
    first.write_bytes(LOG[:middle])
    second.write_bytes(LOG[middle:])
    link.unlink()
    link.symlink_to(second)
    reader.look()
    assert (total(reader.found), reader.lost) == (WHOLE, 0)


def test_the_zone_of_newer_lines_counts(tmp_path: Path) -> None:
    """Summer time ends while the process runs."""
    path = tmp_path / "m-out.log"
    line = '{}: {{"level":30,"time":{},"msg":"🔄 Счетчики ошибок сброшены для organizationPhoneId: 1"}}\n'
    path.write_text(line.format("2026-10-20T20:42:35", 1792521755000))
    reader = Reader(path)
    reader.look()
    assert reader.known[str(path)].zone == 2 * 3_600_000
    with path.open("a") as file:
        file.write(line.format("2026-11-20T19:42:35", 1795200155000))
    reader.look()
    assert reader.known[str(path)].zone == 3_600_000


def test_a_pipe_cannot_be_read_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="name a file"):
        files.read_on([str(tmp_path / "pipe")], {})


def test_a_file_without_lines_is_read_in_time(tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(bytes(60 * 2**20))
    [step] = files.read_on([str(path)], {}).values()
    assert step.position.read_to == path.stat().st_size


_WHOLE = ScanResult()
_scanner = Scanner()
_scanner.feed(LOG)
_WHOLE.extend(_scanner.finish())
WHOLE = total(_WHOLE)
