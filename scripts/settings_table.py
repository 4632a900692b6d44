"""Write the settings into docs/reference/settings.md, from the table that the program reads them by.

python scripts/settings_table.py
"""

from pathlib import Path
from typing import Any

from wa_sessions.config.table import SECTIONS, Setting

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"
BEGIN, END = "<!-- settings: begin, by scripts/settings_table.py -->", "<!-- settings: end -->"

NOTES = {
    "database_url": "Directly: not through a [pooler](../how-to/pgbouncer.md) in transaction mode; of "
    "[several hosts](../how-to/failover.md) the one that can be written to. See [which database](#which-database).",
    "store_url": "Always with `binary_parameters=yes`; its search path is yours to set: "
    "[PgBouncer](../how-to/pgbouncer.md#the-search-path-is-yours-to-set).",
    "data_dir": "Without a terminal (cron, a service) the embedded database is taken only with this, or with "
    "`--database-url embedded`. Else `~/.local/share/wa-sessions`, as root `/var/lib/wa-sessions`.",
    "stop_command": "Both commands or neither.",
    "node_timeout": "A stop command that takes longer is ended, and nothing was changed; a start command is left "
    "running and told of.",
    "handler_secret": "As alerts are signed; without it nothing is signed.",
    "alert_webhook_url": "See [alerts](../how-to.md#alerts).",
    "alert_webhook_secret": "Without it nothing is signed.",
    "alert_telegram_token": "Both this and the chat, or neither.",
    "alert_telegram_chat": "Several with commas between.",
    "alert_smtp_url": "`smtp://user:password@mail:587` sends no password without STARTTLS but on loopback; `smtps://…`.",
    "alert_email_from": "A bare address.",
    "alert_email_to": "Bare addresses, several with commas between.",
    "backup_recipient": "Several with commas between. `--recipients-file` goes before them too.",
    "backup_identity": "For `restore --file` and `import`.",
    "columns": "At a terminal and without one.",
    "no_color": "A variable with any text switches it on.",
    "debug": "A variable with any text switches it on.",
}
"""What a page has room for, and a line of help has not."""


def sections() -> str:
    """A table for each section."""
    return "\n\n".join(f"### {title}\n\n{_table(settings)}" for title, settings in SECTIONS.items())


def page() -> str:
    """The whole page, with the tables as they are now."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{head}{BEGIN}\n\n{sections()}\n\n{END}{rest.partition(END)[2]}"


def _table(settings: tuple[Setting[Any], ...]) -> str:
    head = ["| key | option | variable | default | meaning |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *map(_row, settings)])


def _row(setting: Setting[Any]) -> str:
    default = f"`{setting.default_text}`" if setting.default_text is not None and setting.default != () else ""
    flag = f"`{setting.flag}`" if setting.flag else ""
    takes = "" if setting.kind.takes == "text" else f" It takes {setting.kind.takes}."
    note = f" {NOTES[setting.name]}" if setting.name in NOTES else ""
    secret = " Secret." if setting.mask is not None else ""
    meaning = f"{setting.help}{takes}{note}{secret}".replace("|", "\\|")
    variables = ", ".join(f"`{name}`" for name in setting.variables or (setting.variable,))
    return f"| `{setting.name}` | {flag} | {variables} | {default} | {meaning} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
