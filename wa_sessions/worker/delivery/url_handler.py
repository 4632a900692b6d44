"""The program that posts each message: ``python -P -m …delivery.url_handler <socket>``; the URL is in its environment.

It has no keys; of secrets only the one that signs. A receiver that is away, busy or overloaded is not the message's
fault: ``Failed`` says so. Nothing of an answer but its status is looked at; its rest is read to keep the connection.
"""

import contextlib
import hashlib
import sys
import time

import httpx

from wa_sessions import config
from wa_sessions.worker.delivery.frames import Failed, Taken
from wa_sessions.worker.delivery.serving import die_first, die_with_parent, refuse, serve
from wa_sessions.worker.delivery.spec import SECRET_VARIABLE, URL_VARIABLE
from wa_sessions.worker.message import IncomingMessage
from wa_sessions.worker.signing import signed

CONNECT_TIMEOUT = 10.0
"""Seconds for a connection; how long an answer may take is the worker's to say, who ends this process then."""

KEPT_FOR = 2.0
"""Seconds that an idle connection is kept: less than servers keep it, or a message meets one that is being closed."""

ANSWER_SIZE = 64 << 10
"""Bytes of an answer that are read, so that its connection can take the next message; nobody looks at them."""

ANSWER_TIME = 1.0
"""Seconds that an answer may take after its status."""

AWAY = frozenset({408, 425, 429, 502, 503, 504})
"""Statuses that say: not now. Any other message would get the same."""


class Poster:
    """Posts one message after another over one connection."""

    def __init__(self, url: str, secret: str | None) -> None:
        self._url, self._secret = url, secret
        timeout = httpx.Timeout(None, connect=CONNECT_TIMEOUT)
        self._client = httpx.Client(timeout=timeout, limits=httpx.Limits(keepalive_expiry=KEPT_FOR))

    def post(self, message: IncomingMessage) -> Taken | Failed:
        """Post it; 2xx takes it."""
        content = message.as_json().encode(errors="replace")
        sent = headers(message, content, self._secret, str(int(time.time())))
        try:
            with self._client.stream("POST", self._url, content=content, headers=sent) as answer:
                status = answer.status_code
                _read_out(answer)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            return Failed(type(error).__name__, transient=True)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with the address or the machine
            return Failed(type(error).__name__)
        return Taken() if 200 <= status < 300 else Failed(f"HTTP {status}", transient=status in AWAY)


def _read_out(answer: httpx.Response) -> None:
    """Read what comes after the status, so that the connection is kept; where it is too much or too slow, it is not."""
    answer.request.extensions["timeout"]["read"] = ANSWER_TIME  # of the body alone: reading it has not begun
    end, size = time.monotonic() + ANSWER_TIME, 0
    with contextlib.suppress(httpx.HTTPError):
        for chunk in answer.iter_raw():
            size += len(chunk)
            if size > ANSWER_SIZE or time.monotonic() > end:
                return


def headers(message: IncomingMessage, content: bytes, secret: str | None, now: str) -> dict[str, str]:
    """What goes with a message: a key that is the same at every attempt, and with a ``secret`` when, and by whom."""
    sent = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key(message)}
    if secret:
        sent |= signed(secret, now, content)
    return sent


def idempotency_key(message: IncomingMessage) -> str:
    """By which a receiver knows a message that comes again."""
    names = "\n".join((message.phone, message.chat, message.sender, message.id))
    return hashlib.sha256(names.encode(errors="replace")).hexdigest()[:40]


def main() -> None:
    """Take messages until the worker closes the socket or is gone."""
    die_with_parent()
    die_first()
    link = int(sys.argv[1])
    try:
        environment = config.environment()
        poster = Poster(environment[URL_VARIABLE], environment.get(SECRET_VARIABLE) or None)
    except Exception as error:  # noqa: BLE001  # a proxy that is none, certificates that cannot be read
        refuse(link, f"--on-message-url: {type(error).__name__}")
    else:
        serve(link, poster.post)


if __name__ == "__main__":
    main()
