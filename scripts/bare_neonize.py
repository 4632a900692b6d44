"""neonize and nothing else: all sessions in one process, as its documentation shows, and a handler that notes arrivals.

``bare_neonize.py <store url> <JID>…``. JSON lines on stderr, in the form of the worker's log: ``connected`` of a phone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import arrivals
import pylibmagic  # noqa: F401  # neonize finds libmagic by it
from neonize import events
from neonize.client import NewClient
from neonize.utils import build_jid

if TYPE_CHECKING:
    from collections.abc import Callable

START_TIMEOUT = 30.0  # seconds; a start beside another one may end the process (Go's maps)


def start(store: str, device: str, note: Callable[[str], object] = arrivals.write) -> None:
    """Connect one session, which notes the texts that come; returns when it is."""
    number, _, more = device.partition("@")[0].partition(":")
    jid = build_jid(number)
    jid.Device = int(more)
    client = NewClient(store, uuid=number, jid=jid)
    client.uuid = number.encode()
    connected = threading.Event()

    @client.event(events.ConnectedEv)
    def on_connected(_client: NewClient, _event: Any) -> None:
        sys.stderr.write(json.dumps({"event": "connected", "phone": number, "message": ""}) + "\n")
        sys.stderr.flush()
        connected.set()

    @client.event(events.MessageEv)
    def on_message(_client: NewClient, event: Any) -> None:
        note(event.Message.conversation or event.Message.extendedTextMessage.text)

    threading.Thread(target=client.connect, name=number, daemon=True).start()
    connected.wait(START_TIMEOUT)


def main() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libsignal prints to it
    store, *devices = sys.argv[1:]
    for device in devices:
        start(store, device)
    threading.Event().wait()


if __name__ == "__main__":
    main()
