"""The servers that the machine's packages brought, as Debian puts them: ``/usr/lib/postgresql/15``."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = Path("/usr/lib/postgresql")
SETTINGS = {"listen_addresses": "''", "fsync": "off", "max_connections": "50", "jit": "off"}


def installed() -> list[str]:
    """Their versions, the oldest first; none where root lacks the user that the packages make."""
    if os.geteuid() == 0 and _user() is None:
        return []
    return sorted((path.name for path in PROGRAMS.glob("*") if (path / "bin" / "initdb").is_file()), key=int)


@contextmanager
def running(version: str, folder: Path) -> Iterator[str]:
    """A server of that version in a folder of its own; how to reach it."""
    programs, data, user = PROGRAMS / version / "bin", folder / f"postgres-{version}", _user()
    data.mkdir()
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0 and user is not None:
        os.chown(data, user.pw_uid, user.pw_gid)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def run(*command: str | Path) -> None:
        subprocess.run(
            command, check=True, cwd=data, timeout=120, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **as_user
        )

    options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
    run(programs / "initdb", "--pgdata", data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
    run(
        *(programs / "pg_ctl", "start", "--wait", "--timeout=100", "--pgdata", data, "--log", data / "log"),
        *("--options", f"-k {data} {options}"),
    )
    try:
        yield f"host={data} user=postgres dbname=postgres"
    finally:
        run(programs / "pg_ctl", "stop", "--wait", "--mode=immediate", "--pgdata", data)
        shutil.rmtree(data, ignore_errors=True)


def _user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None
