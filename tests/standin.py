"""A stand-in for a program on neonize: any number of unmodified clients in one process, driven by JSON lines.

A command on stdin is an object with ``do``, ``n`` and mostly ``client``; its answer on stdout has the same ``n`` and a
``result`` or an ``error``. What clients report comes in between: ``{"client": …, "event": …}`` and
``{"log": …, "level": …}``. ``--debug`` makes the logs detailed.
"""

import ctypes
import json
import logging
import os
import sys
import threading
from typing import Any

OUT = os.dup(1)
os.dup2(2, 1)  # libsignal prints to fd 1
OUT_LOCK = threading.Lock()
DEBUG = "--debug" in sys.argv


def tell(**what: Any) -> None:
    with OUT_LOCK:
        os.write(OUT, (json.dumps(what, default=str) + "\n").encode())


class TellingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tell(log=record.getMessage(), level=record.levelname)


import pylibmagic  # noqa: E402, F401
from neonize import events  # noqa: E402
from neonize.client import NewClient  # noqa: E402
from neonize.utils import build_jid  # noqa: E402
from neonize.utils.log import log as neonize_log  # noqa: E402

LEVEL = logging.DEBUG if DEBUG else logging.INFO
logging.getLogger().handlers[:] = [TellingHandler()]
logging.getLogger().setLevel(LEVEL)
neonize_log.setLevel(LEVEL)  # the level that Go is given

QUIET_EVENTS = (0, 1)  # one's own device; QR codes have a callback of their own


class Client(NewClient):
    """neonize's client, which also tells how its pairing ended."""

    def _NewClient__onLoginStatus(self, _uuid: int, status: int) -> None:  # noqa: N802
        tell(client=self.uuid.decode(), event="LoginStatus", status=ctypes.string_at(status).decode())


clients: dict[str, Client] = {}


def describe(event: Any) -> dict[str, Any]:
    if isinstance(event, events.MessageEv):
        text = event.Message.conversation or event.Message.extendedTextMessage.text
        return {"text": text, "id": event.Info.ID, "sender": event.Info.MessageSource.Sender.User}
    if isinstance(event, events.UndecryptableMessageEv):
        return {"id": event.Info.ID, "sender": event.Info.MessageSource.Sender.User}
    return {"about": str(event)[:500].replace("\n", " ")}


def add(name: str, store: str, number: str | None = None, device: int = 0) -> None:
    """Start a client: a new one, or the one that the store keeps under this number and device."""
    jid = build_jid(number) if number else None
    if jid is not None:
        jid.Device = device
    client = Client(store, uuid=name, jid=jid, new_device=jid is None)
    client.uuid = name.encode()
    client.qr(lambda _client, code: tell(client=name, event="QR", code=code.decode()))
    for kind, number_of_kind in events.EVENT_TO_INT.items():
        if number_of_kind not in QUIET_EVENTS:
            client.event(kind)(lambda _client, event: tell(client=name, event=type(event).__name__, **describe(event)))
    clients[name] = client

    def connect() -> None:
        try:
            client.connect()
            tell(client=name, event="connect-returned")
        except Exception as error:  # noqa: BLE001 - whoever drives this program judges it
            tell(client=name, event="connect-raised", error=repr(error))

    threading.Thread(target=connect, name=f"connect-{name}", daemon=True).start()


def perform(command: dict[str, Any]) -> Any:
    match command["do"]:
        case "add":
            return add(command["client"], command["store"], command.get("number"), command.get("device", 0))
        case "send":
            to = build_jid(command["to"], command.get("server", "s.whatsapp.net"))
            return clients[command["client"]].send_message(to, command["text"]).ID
        case "state":
            client = clients[command["client"]]
            return {"connected": client.is_connected, "logged_in": client.is_logged_in}
        case "stop":
            return clients[command["client"]].stop()
        case "logout":
            return clients[command["client"]].logout()
        case "pair-code":
            return clients[command["client"]].PairPhone(command["number"], True)
        case "exit":
            os._exit(0)
        case other:
            raise ValueError(f"no such command: {other}")


def obey(command: dict[str, Any]) -> None:
    try:
        tell(n=command.get("n"), result=perform(command))
    except Exception as error:  # noqa: BLE001
        tell(n=command.get("n"), error=repr(error)[:500])


tell(ready=os.getpid())
for line in sys.stdin:
    threading.Thread(target=obey, args=(json.loads(line),), daemon=True).start()
os._exit(0)
