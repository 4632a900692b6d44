"""Files that operators name: what has no end, no writer or no sense is one line, at once, in little memory."""

import gzip
import os
import resource
import sys
from pathlib import Path

import pytest
from support import corpus, warm
from support.backup_fixtures import Key
from support.fleet import Fleet
from support.waiting import PATIENCE

MOST_MEMORY = 1 << 30
READERS: dict[str, tuple[str, ...]] = {
    "adopt": ("adopt", corpus.PAIRED, "--lid-map", "FILE", "--dry-run", "--process-stopped"),
    "backup": ("backup", "all", "NEW", "--recipients-file", "FILE"),
    "export": ("export", corpus.PAIRED, "NEW", "--recipients-file", "FILE", "--yes", "--process-stopped"),
    "import": ("import", "FILE", "--yes"),
    "import's key": ("import", "BACKUP", "--identity", "FILE", "--yes"),
    "logs": ("logs", "FILE"),
    "logs recorded": ("logs", "FILE", "--record"),
    "restore": ("restore", "--file", "FILE", "--yes"),
    "restore's key": ("restore", "--file", "BACKUP", "--identity", "FILE", "--yes"),
}
WITHOUT_END = {name: words for name, words in READERS.items() if not name.startswith("logs")}


@pytest.fixture
def saved(fleet: Fleet, key: Key, tmp_path: Path) -> Path:
    """A folder with a backup."""
    assert fleet("backup", "all", str(tmp_path / "backup")).code == 0
    return tmp_path


@pytest.mark.parametrize("words", READERS.values(), ids=READERS)
@pytest.mark.parametrize("kind", ["a pipe without a writer", "/dev/zero", "a folder"])
def test_what_cannot_be_read_to_an_end(fleet: Fleet, saved: Path, words: tuple[str, ...], kind: str) -> None:
    file = Path("/dev/zero") if kind == "/dev/zero" else saved / "odd"
    if kind == "a folder":
        file.mkdir()
    elif kind != "/dev/zero":
        os.mkfifo(file)
    _refused(fleet, saved, words, file)


@pytest.mark.parametrize("words", WITHOUT_END.values(), ids=WITHOUT_END)
@pytest.mark.parametrize("start", [b"", b'{"format": "wa-sessions backup", ', b"age-encryption.org/v1\n", b"\x1f\x8b"])
def test_a_file_of_one_long_line(fleet: Fleet, saved: Path, words: tuple[str, ...], start: bytes) -> None:
    file = saved / "long"
    with file.open("wb") as out:
        out.write(start)
        out.truncate(300_000_000)
    _refused(fleet, saved, words, file)


def test_a_log_of_one_long_line_says_nothing_in_little_memory(fleet: Fleet, saved: Path) -> None:
    file = saved / "long"
    with file.open("wb") as out:
        out.truncate(300_000_000)
    assert _run(fleet, saved, READERS["logs"], file).returncode == 0


@pytest.mark.parametrize("name", ["logs", "logs recorded"])
def test_a_log_that_unpacks_to_more_than_a_log_can(fleet: Fleet, saved: Path, name: str) -> None:
    file = saved / "bomb.gz"
    with gzip.open(file, "wb") as out:
        for _ in range(300):
            out.write(b"\0" * 2**20)
    assert "unpacks to over 250 times its size" in _refused(fleet, saved, READERS[name], file)


def test_a_device_as_stdin(fleet: Fleet, saved: Path) -> None:
    with Path("/dev/zero").open("rb") as zeros:
        done = warm.run(_command(fleet, ["logs", "-"]), stdin=zeros, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert "it is a device" in done.stderr


def test_pipes_that_somebody_writes_into_are_read(fleet: Fleet, saved: Path, key: Key) -> None:
    """As in ``logs <(zcat log.gz)`` and ``--identity <(pass show backup)``."""
    log = "0|backend | Bad MAC error #1 for 77051234567\n"
    for content, words in (
        (log, ("logs", "FILE")),
        (key.file.read_text(), ("import", "BACKUP", "--identity", "FILE", "--dry-run", "--process-stopped")),
        ("99887766,77051234567\n", READERS["adopt"]),
    ):
        read, write = os.pipe()
        os.write(write, content.encode())
        os.close(write)
        given = _given(saved, words, Path(f"/dev/fd/{read}"))
        done = warm.run(_command(fleet, given), pass_fds=[read], capture_output=True, text=True, timeout=PATIENCE)
        os.close(read)
        assert (done.returncode, done.stderr) != (2, ""), done.stderr
        assert "cannot read" not in done.stderr
        assert "key that can be read" not in done.stderr


def _refused(fleet: Fleet, folder: Path, words: tuple[str, ...], file: Path) -> str:
    before = fleet.everything()
    done = _run(fleet, folder, words, file)
    assert done.returncode in (1, 2), done.stderr
    assert done.stderr.startswith("wa-sessions: ")
    assert "internal error" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (folder / "new").exists()
    assert fleet.everything() == before
    return done.stderr


def _run(fleet: Fleet, folder: Path, words: tuple[str, ...], file: Path) -> "warm.CompletedProcess[str]":
    command = _command(fleet, _given(folder, words, file))
    with warm.Popen(command, stdout=warm.PIPE, stderr=warm.PIPE, text=True) as process:
        resource.prlimit(process.pid, resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        out, err = process.communicate(timeout=PATIENCE)
    return warm.CompletedProcess(command, process.returncode, out, err)


def _given(folder: Path, words: tuple[str, ...], file: Path) -> list[str]:
    names = {"FILE": file, "NEW": folder / "new", "BACKUP": folder / "backup"}
    return [str(names.get(word, word)) for word in words]


def _command(fleet: Fleet, words: list[str]) -> list[str]:
    return [sys.executable, "-m", "wa_sessions", *words, "--database-url", fleet.url]
