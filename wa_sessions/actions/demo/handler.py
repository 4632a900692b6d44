"""The message handler of the demo's worker."""

import sys

from wa_sessions.worker.message import IncomingMessage


def tell(message: IncomingMessage) -> None:
    """Say what was received, as an operator's own handler might answer a customer."""
    sys.stdout.write(f"received: {message.text}\n")
    sys.stdout.flush()
