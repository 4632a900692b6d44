"""Message handlers that sessions are run with."""

import threading

from wa_sessions.worker.message import IncomingMessage


def difficult(message: IncomingMessage) -> None:
    match message.text:
        case "fail":
            _ = 1 / 0
        case "slow":
            threading.Event().wait(5.5)
        case text:
            print(f"received: {text}", flush=True)
