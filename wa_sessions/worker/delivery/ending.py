"""How a process ended, in words."""

import signal


def status_words(code: int) -> str:
    """``exit status 3``, or a signal's name for a negative code (that of ``subprocess``)."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
