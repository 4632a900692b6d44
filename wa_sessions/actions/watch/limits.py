"""The limits that are configured for this machine."""

from wa_sessions import config
from wa_sessions.config import table
from wa_sessions.health.limits import Limits


def configured_limits() -> Limits:
    """The limits of the environment or a config file, else the defaults. Raises UsageError for no number above 0."""
    configured = config.current()
    return Limits(configured.value(table.MAX_BAD_MAC), configured.value(table.MAX_BAD_DECRYPT))
