"""The message handler of the demo's workers."""

import sys
import time

from wa_sessions.worker.message import IncomingMessage

ORDER = "order"
ORDER_SECONDS = 0.3


def tell(message: IncomingMessage) -> None:
    """Say what was received, as an operator's own handler might answer a customer."""
    sys.stdout.write(f"received: {message.text}\n")
    sys.stdout.flush()


def serve(message: IncomingMessage) -> None:
    """Say what was received; an order takes its time first, as a handler's own work does."""
    if message.text.startswith(ORDER):
        time.sleep(ORDER_SECONDS)
    tell(message)
