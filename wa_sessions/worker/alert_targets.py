"""Where alerts go, as configured: webhooks, a Telegram-compatible bot, e-mail. No name or error has a secret."""

import hashlib
import json
import re
import smtplib
import ssl
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.message import EmailMessage
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from wa_sessions import config
from wa_sessions.config import table
from wa_sessions.config.kinds import is_http_url
from wa_sessions.config.reading import Configuration
from wa_sessions.errors import UsageError, WaSessionsError
from wa_sessions.health.alerting import Pace
from wa_sessions.plain_text import can_be_host, is_text
from wa_sessions.wording import alert_texts
from wa_sessions.wording.alert_texts import Payload
from wa_sessions.worker.signing import signed

if TYPE_CHECKING:
    import httpx

TIMEOUT = 10.0  # seconds to connect, and for each answer
_REFUSALS = {400, 413, 422}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class NotDelivered(WaSessionsError):
    """A target did not take a message. ``refused``: it will not take this one later either, as far as can be seen."""

    def __init__(self, message: str, *, refused: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.refused = refused
        self.retry_after = retry_after


class AlertTarget(Protocol):
    """Somewhere to send alerts to."""

    @property
    def name(self) -> str:
        """What it is called in the database and in outputs."""

    def send(self, key: str, alerts: Sequence[Payload]) -> None:
        """Send one message; ``key`` is the same at every attempt. Raises NotDelivered."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A POST of JSON, signed where there is a secret."""

    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        host = urlsplit(self.url).hostname
        return f"webhook:{host}/{hashlib.sha256(self.url.encode()).hexdigest()[:8]}"

    def send(self, key: str, alerts: Sequence[Payload]) -> None:
        """POST the alert, or the group of alerts."""
        content = json.dumps(alert_texts.body(alerts), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        if self.secret:
            headers |= signed(self.secret, str(int(time.time())), content)
        _post(self.url, content, headers)


@dataclass(frozen=True, slots=True)
class Telegram:
    """A chat, through Telegram's Bot API or one that is like it."""

    token: str = field(repr=False)
    chat: str
    url: str = field(default=table.ALERT_TELEGRAM_URL.default, repr=False)

    @property
    def name(self) -> str:
        return f"telegram:{self.chat}"

    def send(self, key: str, alerts: Sequence[Payload]) -> None:
        """Send the text of the message."""
        content = json.dumps({"chat_id": self.chat, "text": alert_texts.text(alerts)}).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        _post(f"{self.url.rstrip('/')}/bot{self.token}/sendMessage", content, headers)


@dataclass(frozen=True, slots=True)
class Email:
    """A mail through an SMTP server: ``smtps``, else STARTTLS where the server offers it."""

    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"email:{','.join(self.to)}"

    def send(self, key: str, alerts: Sequence[Payload]) -> None:
        """Send the text of the message; the key is the mail's Message-ID too."""
        mail = EmailMessage()
        mail["From"], mail["To"] = self.sender, ", ".join(self.to)
        mail["Subject"] = f"wa-sessions: {alert_texts.subject(alerts)}"
        mail["Message-ID"] = f"<{key}@wa-sessions>"
        mail["Idempotency-Key"] = key
        mail.set_content(alert_texts.text(alerts))
        try:
            with self._connect() as server:
                server.send_message(mail)
                with suppress(smtplib.SMTPException, OSError):  # the mail is accepted already
                    server.quit()
        except smtplib.SMTPResponseException as error:
            raise NotDelivered(f"SMTP {error.smtp_code}") from None
        except (smtplib.SMTPException, OSError) as error:
            raise NotDelivered(_short(f"SMTP: {_reason(error)}")) from None

    def _connect(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.tls:
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT, context=context)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT)
        try:
            server.ehlo()
            secure = self.tls
            if not secure and server.has_extn("starttls"):
                server.starttls(context=context)
                secure = True
            if self.user:
                if not secure and self.host not in _LOOPBACK:
                    raise NotDelivered("the mail server offers no STARTTLS: no password is sent in the clear")
                server.login(self.user, self.password or "")
        except BaseException:
            server.close()
            raise
        return server


def configured(settings: Configuration | None = None) -> tuple[AlertTarget, ...]:
    """All targets that are configured. Raises UsageError for settings that make no sense."""
    settings = settings or config.current()
    for setting in table.SECTIONS["Alerts"]:
        value = settings.value(setting)
        if not is_text(" ".join(value) if isinstance(value, tuple) else str(value)):
            raise UsageError(f"{settings.place(setting)} holds bytes that are no UTF-8")
    secret, urls = settings.value(table.ALERT_WEBHOOK_SECRET), settings.value(table.ALERT_WEBHOOK_URL)
    hooks = [Webhook(_url(settings.place(table.ALERT_WEBHOOK_URL), url), secret) for url in urls]
    found: list[AlertTarget] = [*hooks, *_telegram(settings), *_email(settings)]
    return tuple({target.name: target for target in found}.values())


def check() -> None:
    """Raise UsageError for settings that make no sense."""
    configured()
    pace()


def pace(settings: Configuration | None = None) -> Pace:
    """How often each target is written to. Raises UsageError."""
    usual, interval = Pace(), (settings or config.current()).value(table.ALERT_INTERVAL)
    return replace(usual, gather=min(usual.gather, interval), interval=interval)


def _telegram(settings: Configuration) -> Iterable[Telegram]:
    token, chats = settings.value(table.ALERT_TELEGRAM_TOKEN), settings.value(table.ALERT_TELEGRAM_CHAT)
    if bool(token) != bool(chats):
        both = f"{table.ALERT_TELEGRAM_TOKEN.variable} and {table.ALERT_TELEGRAM_CHAT.variable}"
        raise UsageError(f"set both {both}, or neither")
    if token is None:
        return []
    if not re.fullmatch(r"[\w:-]+", token):
        raise UsageError(f"{settings.place(table.ALERT_TELEGRAM_TOKEN)} is no bot token, as in 123456:ABC-def")
    url = _url(settings.place(table.ALERT_TELEGRAM_URL), settings.value(table.ALERT_TELEGRAM_URL))
    return [Telegram(token, chat, url) for chat in chats]


def _email(settings: Configuration) -> Iterable[Email]:
    server, sender = settings.value(table.ALERT_SMTP_URL), settings.value(table.ALERT_EMAIL_FROM)
    to = settings.value(table.ALERT_EMAIL_TO)
    if not server and not to:
        return []
    if not (server and sender and to):
        raise UsageError(
            "mail needs all of WA_SESSIONS_ALERT_SMTP_URL, WA_SESSIONS_ALERT_EMAIL_FROM and WA_SESSIONS_ALERT_EMAIL_TO"
        )
    if not all(re.fullmatch(r"[^\s@<>,;]+@[^\s@<>,;]+", address) for address in (sender, *to)):
        raise UsageError("WA_SESSIONS_ALERT_EMAIL_FROM and _TO take bare addresses, as in ops@example.com")
    try:
        parts = urlsplit(server)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or not can_be_host(host) or parts.scheme not in ("smtp", "smtps"):
        place = settings.place(table.ALERT_SMTP_URL)
        raise UsageError(f"{place} is no URL of a mail server, as in smtp://user:password@mail:587")
    tls = parts.scheme == "smtps"
    user, password = unquote(parts.username or "") or None, unquote(parts.password or "") or None
    return [Email(host, port or (465 if tls else 587 if user else 25), sender, to, tls, user, password)]


def _url(name: str, url: str) -> str:
    if not is_http_url(url):
        raise UsageError(f"{name} is no http:// or https:// URL (several are separated by spaces)")
    return url


def _post(url: str, content: bytes, headers: dict[str, str]) -> None:
    import httpx

    try:
        with (
            httpx.Client(timeout=TIMEOUT, follow_redirects=False) as client,
            client.stream("POST", url, content=content, headers=headers) as answer,
        ):
            code, retry_after = answer.status_code, _retry_after(answer)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise NotDelivered(_short(_reason(error))) from None
    if not 200 <= code < 300:
        raise NotDelivered(f"HTTP {code}", refused=code in _REFUSALS, retry_after=retry_after)


def _retry_after(answer: "httpx.Response") -> float:
    text = answer.headers.get("Retry-After", "")
    return min(float(text), 3600.0) if text.isascii() and text.isdigit() else 0.0


def _reason(error: Exception) -> str:
    """The system's words if there are any; never a URL, which may hold a secret."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return "no answer in time" if "timed out" in words or not words else re.sub(r"\S+://\S+", "…", words)


def _short(text: str) -> str:
    return " ".join(text.split())[:200]
