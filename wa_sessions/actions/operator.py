"""Who is acting, for the history."""

import getpass
import os
import socket


def operator() -> str:
    """``user@host``; the user's number where the machine has no name for it, as in many containers."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
