"""Every setting, once: its name, what it may be, its default, its flag and its variables."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from wa_sessions.config import masks
from wa_sessions.config.kinds import Address, Age, Choice, Duration, Kind, Number, Seconds, Switch, Text, Width, Words

T = TypeVar("T")


class Setting(NamedTuple, Generic[T]):
    """One setting; ``name`` is its key in a file.

    ``mask``: how a value is shown that may be a secret; such a value may also stand in a file of its own, or be a
    credential of systemd. ``variables``: the first that is set wins; where none is named it is ``WA_SESSIONS_`` and the
    name. ``group``: of those settings one alone counts, the first that is found.
    """

    name: str
    kind: Kind[Any]
    default: T
    help: str
    flag: str | None = None
    metavar: str | None = None
    mask: Callable[[str], str] | None = None
    variables: tuple[str, ...] = ()
    group: str | None = None
    example: str | None = None

    @property
    def variable(self) -> str:
        """The variable that goes before all others."""
        return self.variables[0] if self.variables else f"WA_SESSIONS_{self.name.upper()}"

    @property
    def default_text(self) -> str | None:
        """The default as it would be typed; None where there is none."""
        written = self.kind.written(self.default)
        return None if written is None or written is False else str(written)


Optional = Setting[str | None]
Several = Setting[tuple[str, ...]]
_LEAST_LEASE = "it takes 3s to 10m: what is shorter would end sessions on a busy machine"
_LEAST_HISTORY = "it takes a day or more: messages of the last day may still come again"

# fmt: off
DATABASE_URL: Optional = Setting(
    "database_url", Text(), None,
    "The backend's Postgres. Else WA_SESSIONS_DATABASE_URL, DATABASE_URL, PG* variables, the config file, the embedded "
    "one.", flag="--database-url", metavar="URL", mask=masks.login,
    variables=("WA_SESSIONS_DATABASE_URL", "DATABASE_URL"), example="postgresql://user:password@host/database")
STORE_URL: Optional = Setting(
    "store_url", Text(), None,
    "Where neonize keeps keys, as through a pooler; else WA_SESSIONS_STORE_URL, else the same database.",
    flag="--store-url", metavar="URL", mask=masks.login, example="postgresql://user:password@host:6432/database")
DATA_DIR: Optional = Setting(
    "data_dir", Text(), None, "The folder of the embedded database, which names it.",
    metavar="FOLDER", example="/var/lib/wa-sessions")

STOP_COMMAND: Optional = Setting(
    "stop_command", Text(), None,
    "Stops the Node process before its rows are changed, within 60 s. Else WA_SESSIONS_STOP_COMMAND.",
    flag="--stop-command", metavar="CMD", example="pm2 stop messenger-backend")
START_COMMAND: Optional = Setting(
    "start_command", Text(), None, "Starts it again, whatever happens. Else WA_SESSIONS_START_COMMAND.",
    flag="--start-command", metavar="CMD", example="pm2 start messenger-backend")
NODE_TIMEOUT = Setting(
    "node_timeout", Number(1, 86_400), 60, "Seconds that each of these two commands may take.", metavar="SECONDS")

ON_MESSAGE: Optional = Setting(
    "on_message", Text(), None, "Python function that takes each message.",
    flag="--on-message", metavar="MODULE:FUNCTION", group="handler", example="shop.inbox:take")
ON_MESSAGE_EXEC: Optional = Setting(
    "on_message_exec", Text(), None, "Command that takes each message as JSON on stdin.",
    flag="--on-message-exec", metavar="CMD", group="handler", example="/usr/local/bin/take-message")
HANDLER_URL: Optional = Setting(
    "handler_url", Text(), None,
    "URL that each message is posted to as JSON, signed with WA_SESSIONS_HANDLER_SECRET if that is set.",
    flag="--on-message-url", metavar="URL", mask=masks.receiver, group="handler", example="https://msg.example/in")
HANDLER_SECRET: Optional = Setting(
    "handler_secret", Text(), None, "Signs what is posted to the URL of messages.",
    metavar="TEXT", mask=masks.whole, example="a secret")
HANDLERS = Setting(
    "handlers", Number(1, 64), 2, "How many processes handle messages.", flag="--handlers", metavar="N")
HANDLER_TIMEOUT = Setting(
    "handler_timeout", Duration(), timedelta(seconds=60), "How long one message may take before it is given up.",
    flag="--handler-timeout", metavar="60s")
HANDLER_ENV: Several = Setting(
    "handler_env", Words(r"\s,"), (),
    "A variable with a secret or the database's address that handlers get too, as PG*; * for all.",
    flag="--handler-env", metavar="NAME", example="PG*")
HANDLER_ATTEMPTS = Setting(
    "handler_attempts", Number(1, 1000), 5, "How often a message is tried until it is set aside.",
    flag="--handler-attempts", metavar="N")
HANDLER_PAUSE = Setting(
    "handler_pause", Duration(), timedelta(seconds=1),
    "How long its chat waits after a failure; each next pause is four times longer, up to 5 minutes.",
    flag="--handler-pause", metavar="1s")
ON_DEAD = Setting(
    "on_dead", Choice("skip", "hold"), "skip",
    "hold: the chat of a message that is set aside waits until you decide.", flag="--on-dead")
INBOX = Setting(
    "inbox", Choice("database", "memory"), "database",
    "Where messages wait; memory: what waits when the worker ends is lost.", flag="--inbox")

SESSIONS_PER_HOST = Setting(
    "sessions_per_host", Number(1, 150), 25, "How many sessions share a process; 1: each has its own, at 60 MB apiece.",
    flag="--sessions-per-host", metavar="N")
LOG_FORMAT = Setting("log_format", Choice("text", "json"), "text", "The log on stderr.", flag="--log-format")
PAIRING_WINDOW = Setting(
    "pairing_window", Duration(), timedelta(minutes=10), "How long QR codes are shown.",
    flag="--pairing-window", metavar="10m")
ANSWER_TIMEOUT = Setting(
    "answer_timeout", Duration(), timedelta(seconds=90),
    "How long WhatsApp may be silent while connecting before it counts as unreachable.",
    flag="--answer-timeout", metavar="90s")
MAX_BAD_MAC = Setting(
    "max_bad_mac", Number(1, 999), 3, "How many Bad MAC errors in a row close a session.",
    flag="--max-bad-mac", metavar="N")
MAX_BAD_DECRYPT = Setting(
    "max_bad_decrypt", Number(1, 999), 5, "How many Bad Decrypt errors in a row close a session.",
    flag="--max-bad-decrypt", metavar="N")
LIMIT_SCOPE = Setting(
    "limit_scope", Choice("account", "sender"), "account", "sender: one sender's errors count once.",
    flag="--limit-scope")
LEASE = Setting(
    "lease", Duration(timedelta(seconds=3), timedelta(minutes=10), _LEAST_LEASE), timedelta(seconds=5),
    "Silence of this worker after which another has its phones; 3s or more.", flag="--lease", metavar="5s")
KEEP_HISTORY = Setting(
    "keep_history", Age(timedelta(days=1), _LEAST_HISTORY), timedelta(days=90),
    "Older history is pruned once a day; 0d keeps all.", flag="--keep-history", metavar="90d")
METRICS_LISTEN: Setting[tuple[str, int] | None] = Setting(
    "metrics_listen", Address(), None, "Serve metrics for Prometheus at /metrics there.",
    flag="--metrics-listen", metavar="HOST:PORT", example="127.0.0.1:9464")

FRESHNESS = Setting(
    "freshness", Duration(), timedelta(minutes=5), "Older data is UNKNOWN: 90s, 5m, 1h.",
    flag="--freshness", metavar="5m")
FEW_KEYS: Setting[int | None] = Setting(
    "few_keys", Number(1, 999_999), None, "Fewer than N auth keys are CRITICAL.",
    flag="--few-keys", metavar="N", example="30")
INBOX_WARNING = Setting(
    "inbox_warning", Duration(), timedelta(minutes=5), "A message that waits longer for its handler is WARNING.",
    flag="--inbox-warning", metavar="5m")
INBOX_CRITICAL = Setting(
    "inbox_critical", Duration(), timedelta(minutes=30), "Longer than that is CRITICAL.",
    flag="--inbox-critical", metavar="30m")

ALERT_WEBHOOK_URL: Several = Setting(
    "alert_webhook_url", Words(r"\s"), (), "Where alerts are posted to; several with spaces between.",
    metavar="URL", mask=masks.hook, example="https://hooks.example/path")
ALERT_WEBHOOK_SECRET: Optional = Setting(
    "alert_webhook_secret", Text(), None, "Signs alerts that are posted.",
    metavar="TEXT", mask=masks.whole, example="a secret")
ALERT_TELEGRAM_TOKEN: Optional = Setting(
    "alert_telegram_token", Text(), None, "A bot's token.", metavar="TOKEN", mask=masks.whole, example="123456:ABC-def")
ALERT_TELEGRAM_CHAT: Several = Setting(
    "alert_telegram_chat", Words(r"\s,"), (), "The ids of chats.", metavar="ID", example="-100123456")
ALERT_TELEGRAM_URL = Setting(
    "alert_telegram_url", Text(), "https://api.telegram.org", "A server that speaks Telegram's Bot API.", metavar="URL")
ALERT_SMTP_URL: Optional = Setting(
    "alert_smtp_url", Text(), None, "The mail server, with STARTTLS where it is offered.",
    metavar="URL", mask=masks.login, example="smtp://user:password@mail.example:587")
ALERT_EMAIL_FROM: Optional = Setting(
    "alert_email_from", Text(), None, "The sender of mails.", metavar="ADDRESS", example="wa@example.com")
ALERT_EMAIL_TO: Several = Setting(
    "alert_email_to", Words(r"\s,"), (), "Who gets mails.", metavar="ADDRESS", example="ops@example.com")
ALERT_INTERVAL = Setting(
    "alert_interval", Seconds(), 30.0, "Seconds between two messages to one target.", metavar="SECONDS")

BACKUP_RECIPIENT: Several = Setting(
    "backup_recipient", Words(r"\n,"), (), "The age keys that backup and export encrypt to.",
    flag="--recipient", metavar="KEY", example="age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p")
BACKUP_IDENTITY: Optional = Setting(
    "backup_identity", Text(), None, "The file with the age key that opens a backup.",
    flag="--identity", metavar="FILE", example="/etc/wa-sessions/backup-key.txt")

PM2_HOME: Optional = Setting(
    "pm2_home", Text(), None, "The folder that pm2 keeps its logs in.",
    metavar="FOLDER", variables=("PM2_HOME",), example="/home/node/.pm2")
COLUMNS: Setting[int | None] = Setting(
    "columns", Width(), None, "How wide tables and text may be.", metavar="N", variables=("COLUMNS",), example="120")
NO_COLOR = Setting("no_color", Switch(), False, "No colours.", variables=("NO_COLOR",))
DEBUG = Setting("debug", Switch(), False, "An internal error shows its traceback.")

SECTIONS: dict[str, tuple[Setting[Any], ...]] = {
    "Database": (DATABASE_URL, STORE_URL, DATA_DIR),
    "Node backend": (STOP_COMMAND, START_COMMAND, NODE_TIMEOUT),
    "Messages": (ON_MESSAGE, ON_MESSAGE_EXEC, HANDLER_URL, HANDLER_SECRET, HANDLERS, HANDLER_TIMEOUT, HANDLER_ENV,
                 HANDLER_ATTEMPTS, HANDLER_PAUSE, ON_DEAD, INBOX),
    "Worker": (SESSIONS_PER_HOST, LOG_FORMAT, PAIRING_WINDOW, ANSWER_TIMEOUT, MAX_BAD_MAC, MAX_BAD_DECRYPT, LIMIT_SCOPE,
               LEASE, KEEP_HISTORY, METRICS_LISTEN),
    "Check": (FRESHNESS, FEW_KEYS, INBOX_WARNING, INBOX_CRITICAL),
    "Alerts": (ALERT_WEBHOOK_URL, ALERT_WEBHOOK_SECRET, ALERT_TELEGRAM_TOKEN, ALERT_TELEGRAM_CHAT, ALERT_TELEGRAM_URL,
               ALERT_SMTP_URL, ALERT_EMAIL_FROM, ALERT_EMAIL_TO, ALERT_INTERVAL),
    "Backups": (BACKUP_RECIPIENT, BACKUP_IDENTITY),
    "Terminal and logs": (PM2_HOME, COLUMNS, NO_COLOR, DEBUG),
}
# fmt: on
SETTINGS = {setting.name: setting for section in SECTIONS.values() for setting in section}
VARIABLES = {name: setting.variables or (setting.variable,) for name, setting in SETTINGS.items()}
"""The variables of each, by its name."""
