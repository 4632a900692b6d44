"""Message handlers that sessions are run with."""

import os
import threading

from wa_sessions.worker.message import IncomingMessage


def tell(message: IncomingMessage) -> None:
    print(f"received: {message.text}", flush=True)


def difficult(message: IncomingMessage) -> None:
    match message.text:
        case "fail":
            _ = 1 / 0
        case "exit":
            raise SystemExit(0)
        case "crash":
            os._exit(3)
        case "slow":
            threading.Event().wait(5.5)
        case text:
            print(f"received: {text}", flush=True)


def slow(message: IncomingMessage) -> None:
    """Take a third of a second for each."""
    threading.Event().wait(0.3)
    print(f"received: {message.text}", flush=True)
