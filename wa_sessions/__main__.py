"""``python -m wa_sessions`` is the command ``wa-sessions``."""

from wa_sessions.cli import main

main()
