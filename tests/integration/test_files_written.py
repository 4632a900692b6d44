"""The files that commands write: whole or not at all, and never where somebody else's link leads."""

import re
from pathlib import Path

import pytest
from support import corpus
from support.backup_fixtures import Key
from support.fleet import Fleet

from wa_sessions import cli
from wa_sessions.cli.app import root

READERS = {"restore", "import", "adopt", "logs"}
STOPPED = ("--yes", "--process-stopped")
CODE = "2@" + "A" * 120 + "," + ",".join(letter * 43 + "=" for letter in "BCD")
WRITERS: dict[str, tuple[str, ...]] = {
    "backup": ("backup", "all", "FILE", "--force"),
    "backup-key": ("backup-key", "FILE"),
    "export": ("export", corpus.PAIRED, "FILE", "--force", *STOPPED),
    "metrics": ("metrics", "--textfile", "FILE"),
    "qr as PNG": ("qr", corpus.PENDING, "--png", "FILE"),
    "qr as SVG": ("qr", corpus.PENDING, "--svg", "FILE"),
    "report": ("report", "--html", "FILE", "--force"),
}


@pytest.mark.parametrize("leads", ["to a file", "nowhere", "to a device"])
@pytest.mark.parametrize("words", WRITERS.values(), ids=WRITERS)
def test_none_is_written_through_a_link(
    fleet: Fleet, key: Key, tmp_path: Path, words: tuple[str, ...], leads: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _show_a_qr(fleet)
    file, link = tmp_path / "precious", tmp_path / "x.prom"
    if leads == "to a file":
        file.write_text("precious")
    link.symlink_to("/dev/full" if leads == "to a device" else file)
    before = fleet.everything()
    assert _run(fleet, words, link) == 1
    said = capsys.readouterr().err
    assert "symbolic link" in said or "exists already" in said
    assert link.is_symlink()
    assert file.exists() == (leads == "to a file")
    assert not file.exists() or file.read_text() == "precious"
    assert fleet.everything() == before
    assert len(list(tmp_path.iterdir())) == 2 + file.exists()  # the link, the key, no part of a file


@pytest.mark.parametrize("words", WRITERS.values(), ids=WRITERS)
def test_each_is_written_where_there_is_no_link(fleet: Fleet, key: Key, tmp_path: Path, words: tuple[str, ...]) -> None:
    _show_a_qr(fleet)
    file = tmp_path / "x.prom"
    assert _run(fleet, words, file) == 0
    assert file.stat().st_size > 0
    assert not file.stat().st_mode & 0o022
    assert (file.stat().st_mode & 0o044 != 0) == (words[0] == "metrics")


def test_these_are_all(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the commands whose help names a file."""
    for name in root().commands:
        assert cli.execute([name, "--help"]) == 0
        named = "FILE" in re.sub("--(recipients-file|config) FILE", "", capsys.readouterr().out)
        assert named == (name in READERS | {words[0] for words in WRITERS.values()}), name


def _run(fleet: Fleet, words: tuple[str, ...], file: Path) -> int:
    given = [str(file) if word == "FILE" else word for word in words]
    return cli.execute(given if words[0] == "backup-key" else [*given, "--database-url", fleet.url])


def _show_a_qr(fleet: Fleet) -> None:
    change = """UPDATE public."OrganizationPhone" SET "qrCode" = %s, "updatedAt" = (now() AT TIME ZONE 'UTC')
        WHERE "phoneJid" LIKE %s"""
    fleet.sql(change, CODE, f"{corpus.PENDING}%")
