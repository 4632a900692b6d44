"""A backup is whole, encrypted, of one moment and read back, or it is not there at all."""

import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg.conninfo import make_conninfo
from support import corpus, warm
from support.backup_fixtures import Called, Key, caller, new_key, opened
from support.store import fill_device
from support.terminal import PROGRAM
from support.waiting import PATIENCE

from wa_sessions import cli
from wa_sessions.actions.move.backup import Destination, backup
from wa_sessions.actions.move.backup_contents import contents
from wa_sessions.actions.move.encryption import identities, recipients
from wa_sessions.db import backend, phones
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target
from wa_sessions.errors import UsageError, WaSessionsError
from wa_sessions.keys.phone_ref import PhoneRef

NEONIZE = "77051230000"
DEVICE = f"{NEONIZE}:3@s.whatsapp.net"
ALL_KEYS = 1404  # of the corpus
Call = Callable[..., Called]


@pytest.fixture
def call(database_url: str, capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(database_url, capsys)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return new_key(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "backups"
    made.mkdir()
    return made


@pytest.fixture
def phones_there(database: Database) -> None:
    with database.transaction() as conn:
        corpus.load(conn, "baileys_auth")


@pytest.mark.usefixtures("phones_there")
def test_all_phones_with_both_stores(database: Database, call: Call, key: Key, folder: Path) -> None:
    with database.transaction() as conn:
        phones.add(conn, backend.detect(conn), NEONIZE, 1)
        made = fill_device(conn, DEVICE)
    file = folder / "keys.age"
    done = call("backup", "all", file, "--recipient", key.recipient, "--json").json
    assert list(done) == [
        *("file", "phones", "keys", "bytes", "encrypted", "recipients", "sha256", "made_at", "verified"),
        "without_phone",
    ]
    assert (done["phones"], done["keys"], done["bytes"]) == (8, ALL_KEYS + made, file.stat().st_size)
    assert (done["encrypted"], done["recipients"], done["verified"], done["without_phone"]) == (True, 1, True, 0)
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(folder.iterdir()) == [file]
    read = contents(file, key.identities)
    assert read.totals.sha256 == done["sha256"]
    assert {saved.phone.number: saved.keys for saved in read.phones}[NEONIZE] == made
    assert corpus.PAIRED.encode() not in file.read_bytes()


@pytest.mark.usefixtures("phones_there")
def test_one_phone_and_one_organization(call: Call, key: Key, folder: Path) -> None:
    call("backup", "+7 701 765-43-21", folder / "one", "--recipient", key.recipient)
    assert [saved.phone.number for saved in contents(folder / "one", key.identities).phones] == [corpus.PAIRED]
    call("backup", "all", folder / "two", "--org", 7, "--recipient", key.recipient)
    saved = contents(folder / "two", key.identities).phones
    assert [(one.phone.number, bool(one.keys)) for one in saved] == [
        (corpus.SEVENTH_PAIRED, True),
        (corpus.WABA, False),
    ]


@pytest.mark.usefixtures("phones_there")
def test_keys_of_no_phone_are_told_of(database: Database, call: Call, folder: Path) -> None:
    with database.transaction() as conn:
        conn.execute("INSERT INTO public.baileys_auth VALUES (2, '77051234567', 'creds', 'x', 'base64_json')")
    done = call("backup", "all", folder / "plain", "--no-encryption")
    assert done.code == 0
    assert "NOT ENCRYPTED" in done.out
    assert "left out 1 auth key of numbers that no phone has" in done.err


def test_a_backup_is_of_one_moment(database: Database, key: Key, folder: Path) -> None:
    """Keys that are deleted and added while it is made."""
    with database.transaction() as conn:
        corpus.load(conn, "baileys_auth")

    def meddle(done: int, of: int) -> None:
        if (done, of) == (1, 7):
            with database.transaction() as conn:
                conn.execute("DELETE FROM public.baileys_auth")
                conn.execute("INSERT INTO public.baileys_auth VALUES (7, '77009998877', 'creds', 'x', 'base64_json')")

    readers = recipients([key.recipient])
    done = backup(opened(database), None, Destination(folder / "keys", readers, progress=meddle))
    assert done.keys == ALL_KEYS
    assert contents(folder / "keys", key.identities).totals.keys == ALL_KEYS


def test_a_disk_that_loses_a_byte_is_noticed(database: Database, key: Key, folder: Path) -> None:
    with database.transaction() as conn:
        corpus.load(conn, "baileys_auth")
    flipped: list[Path] = []

    def flip(_done: int, of: int) -> None:
        if of > 7 and not flipped:  # bytes: it is being read back
            (part,) = folder.glob(".*.part")
            flipped.append(part)
            with part.open("r+b") as file:
                file.seek(-1000, 2)
                file.write(b"\x00")

    with pytest.raises(WaSessionsError, match="not what was written"):
        backup(opened(database), None, Destination(folder / "keys", recipients([key.recipient]), progress=flip))
    assert flipped
    assert not list(folder.iterdir())


@pytest.mark.bare
@pytest.mark.usefixtures("phones_there")
def test_a_full_disk_leaves_nothing(database_url: str, folder: Path) -> None:
    """The limit of a file's size stands for the disk's."""
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        "from wa_sessions import cli; sys.exit(cli.execute(sys.argv[1:]))"
    )
    words = ["backup", "all", str(folder / "keys"), "--no-encryption", "--database-url", database_url]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"wa-sessions: cannot write {folder / 'keys'}: File too large; no backup was made\n"
    assert not list(folder.iterdir())


@pytest.mark.usefixtures("phones_there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_leaves_nothing(database: Database, database_url: str, folder: Path, number: int) -> None:
    """Ended while it waits for a lock on the keys, its file begun."""
    words = [str(PROGRAM), "backup", "all", str(folder / "keys"), "--no-encryption", "--database-url", database_url]
    with database.transaction() as conn:
        conn.execute("LOCK public.baileys_auth")
        with warm.Popen(words, stderr=warm.PIPE) as process:
            while not conn.execute("SELECT 1 AS waiting FROM pg_locks, pg_sleep(0.01) WHERE NOT granted").fetchone():
                assert process.poll() is None
            assert list(folder.glob(".*.part"))
            process.send_signal(number)
            assert process.wait(PATIENCE) == 130
    assert not list(folder.iterdir())


@pytest.mark.usefixtures("phones_there")
def test_a_file_is_not_overwritten_unless_that_is_said(call: Call, key: Key, folder: Path) -> None:
    file = folder / "keys"
    file.write_text("precious")
    refused = call("backup", "all", file, "--recipient", key.recipient)
    assert (refused.code, file.read_text()) == (1, "precious")
    assert "say --force" in refused.err
    assert call("backup", "all", file, "--recipient", key.recipient, "--force").code == 0
    assert contents(file, key.identities).totals.keys == ALL_KEYS


def test_where_no_backup_can_be(call: Call, key: Key, folder: Path) -> None:
    call("add", NEONIZE, "--org", 1)
    places = {
        "-": (2, "name a file"),
        str(folder): (1, "is a folder"),
        f"{folder}/none/keys": (1, "there is no folder"),
        "/dev/null": (1, "exists already"),
        "/proc/backup": (1, "cannot write /proc/backup"),
    }
    for place, (code, words) in places.items():
        done = call("backup", "all", "--recipient", key.recipient, "--", place)
        assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
        assert words in done.err
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "backup-key FILE"),
        (["--recipient", "AGE-SECRET-KEY-1QQQQSECRET"], "is given to restore, never to backup"),
        (["--recipient", "age1nonsense"], "recipient 1 is no recipient"),
        (["--recipient", "ssh-ed25519 nonsense"], "recipient 1 is no recipient"),
        (["--recipients-file", "/nowhere"], "cannot read /nowhere"),
        (["--recipients-file", "/dev/null"], "has no recipient"),
        (["--no-encryption", "--recipient", "age1x"], "excludes"),
    ],
)
def test_to_whom(options: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = caller("postgresql:///nowhere", capsys)("backup", "all", folder / "keys", *options)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert "SECRET-KEY-1" not in done.err
    assert not list(folder.iterdir())


@pytest.mark.usefixtures("phones_there")
def test_recipients_of_the_environment_and_of_a_file(
    call: Call, key: Key, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_key(folder.parent, "other.txt")
    monkeypatch.setenv("WA_SESSIONS_BACKUP_RECIPIENT", f"{key.recipient}, {other.recipient}")
    assert call("backup", corpus.PENDING, folder / "one", "--json").json["recipients"] == 2
    monkeypatch.setenv("WA_SESSIONS_BACKUP_RECIPIENT", key.recipient)
    (folder.parent / "public").write_text(f"# the vault's\n\n{other.recipient}\n")
    call("backup", corpus.PENDING, folder / "two", "--recipients-file", folder.parent / "public")
    assert contents(folder / "one", key.identities).totals == contents(folder / "one", other.identities).totals
    assert contents(folder / "two", other.identities).totals.keys == 1
    with pytest.raises(WaSessionsError, match="not encrypted to this key"):
        contents(folder / "two", key.identities)


@pytest.mark.usefixtures("phones_there")
def test_an_ssh_key_will_do(call: Call, folder: Path) -> None:
    private, encoding = Ed25519PrivateKey.generate(), serialization.Encoding
    form = serialization.PrivateFormat.OpenSSH
    secret = folder.parent / "id_ed25519"
    secret.write_bytes(private.private_bytes(encoding.PEM, form, serialization.NoEncryption()))
    public = private.public_key().public_bytes(encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    assert call("backup", corpus.PENDING, folder / "keys", "--recipient", f"{public} vault@example").code == 0
    assert contents(folder / "keys", identities(secret)).totals.keys == 1


def test_a_key_is_made_for_its_owner_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "key"
    assert cli.execute(["backup-key", str(file), "--json"]) == 0
    shown = capsys.readouterr().out
    secret = file.read_text().splitlines()[-1]
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret.startswith("AGE-SECRET-KEY-1")
    assert secret not in shown
    assert str(pyrage.x25519.Identity.from_str(secret).to_public()) in shown
    assert cli.execute(["backup-key", str(file)]) == 1
    assert "no key is overwritten" in capsys.readouterr().err
    assert secret in file.read_text()


@pytest.mark.parametrize("text", ["", "# nothing", "age1xyz", "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n"])
def test_what_is_no_identity(text: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(UsageError, match="has no key that can be read"):
        identities(tmp_path / "key")


def test_reading_is_enough(database: Database, target: Target, key: Key, folder: Path) -> None:
    """A role that may only read the backend's tables, and no schema of ours or of whatsmeow."""
    role = f"reader_{secrets.token_hex(4)}"
    with database.transaction() as conn:
        corpus.load(conn, "BaileysAuth-old")
        conn.execute("DROP SCHEMA wa_sessions CASCADE")
        conn.execute("DROP SCHEMA whatsmeow CASCADE")
        conn.execute(
            f'CREATE ROLE {role} LOGIN; GRANT SELECT ON public."BaileysAuth", public."OrganizationPhone" TO {role}'
        )
    reading = Target(make_conninfo(target.conninfo, user=role), None, "test")
    with Database.open(reading) as database_of_reader:
        done = backup(opened(database_of_reader), None, Destination(folder / "keys", recipients([key.recipient])))
    assert done.keys == ALL_KEYS


def test_no_phone_no_backup_and_no_plain_text_unasked(database: Database, call: Call, key: Key, folder: Path) -> None:
    assert call("backup", "all", folder / "keys", "--recipient", key.recipient).code == 3
    assert call("backup", NEONIZE, folder / "keys", "--recipient", key.recipient).code == 3
    with pytest.raises(UsageError, match="explicitly"):
        backup(opened(database), PhoneRef(digits=NEONIZE), Destination(folder / "keys", []))
    with pytest.raises(UsageError, match="explicitly"):
        backup(opened(database), None, Destination(folder / "keys", recipients([key.recipient]), plain=True))
    assert not list(folder.iterdir())
