"""Who is acting, for the history: as the operating system knows it, whatever the environment says."""

import os
import pwd
import socket
from pathlib import Path

_NOBODY_LOGGED_IN = 0xFFFFFFFF


def operator() -> str:
    """``user@host``; for root also who logged in (``root@host (login: alice)``), where the machine keeps that.

    A user's number stands where the machine has no name for it, as in many containers.
    """
    who = f"{_name(os.getuid())}@{socket.gethostname()}"
    login = _login() if os.getuid() == 0 else None
    return f"{who} (login: {_name(login)})" if login else who


def _login() -> int | None:
    """The user of the login that led here, through ``sudo`` and ``su``; only root can change it once it is set."""
    try:
        login = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if login == _NOBODY_LOGGED_IN else login


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
