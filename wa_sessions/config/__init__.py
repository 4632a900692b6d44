"""Settings: each stands once in ``table``, and is read from flag, environment and files in one order.

``config.value(table.MAX_BAD_MAC)`` is the value that counts; the environment is read here and nowhere else.
"""

from wa_sessions.config.reading import (
    Configuration,
    Found,
    begin,
    current,
    environment,
    libpq,
    use,
    value,
    written,
)

__all__ = ["Configuration", "Found", "begin", "current", "environment", "libpq", "use", "value", "written"]
