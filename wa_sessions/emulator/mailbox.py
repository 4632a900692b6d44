"""What waits for one device. A stanza is kept until its client has acknowledged it, and comes again after a drop."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable

from wa_sessions.emulator.stanza import Node

RETRY = "retry"


class Mailbox:
    """Waiting stanzas in order, and those in flight: sent over the present connection, not yet acknowledged."""

    def __init__(self, held: Callable[[Node], bool]) -> None:
        self._held = held
        self._waiting: deque[Node] = deque()
        self._in_flight: list[Node] = []
        self._retried: Counter[str] = Counter()
        self.stirred = asyncio.Event()

    def put(self, node: Node) -> None:
        self._waiting.append(node)
        self.stirred.set()

    def take(self) -> Node | None:
        """The next stanza that may go out; from now on it is in flight."""
        for at, node in enumerate(self._waiting):
            if not self._held(node):
                del self._waiting[at]
                self._in_flight.append(node)
                return node
        return None

    def give_back(self) -> None:
        """The connection is gone: what was in flight waits again, before everything else."""
        self._waiting.extendleft(reversed(self._in_flight))
        self._in_flight.clear()
        self._retried.clear()

    @property
    def idle(self) -> bool:
        """Whether everything has arrived and is acknowledged."""
        return not self._waiting and not self._in_flight

    def waiting(self, tag: str) -> int:
        return sum(node.tag == tag for node in self._waiting)

    def acknowledge(self, node: Node) -> None:
        """Take note of a client's ``<ack>`` or ``<receipt>``.

        A message is answered with a receipt; if it does not decrypt, with a retry receipt and an ack in any order
        (whatsmeow: ``decryptMessages``). As the retried copy has the same id, the ack of the damaged one must not
        be taken for the new copy's.
        """
        if node.tag == "ack":
            self._acknowledged(node)
        elif node.text("type") == RETRY:
            if self._remove("message", node.text("id")):
                self._retried[node.text("id")] += 1
        else:
            for message_id in _message_ids(node):
                self._remove("message", message_id)

    def _acknowledged(self, ack: Node) -> None:
        kind, message_id = ack.text("class"), ack.text("id")
        if kind != "message":
            self._remove(kind, message_id, ack.text("type"))
        elif message_id in self._retried:
            self._retried -= Counter([message_id])  # drops what falls to zero
        else:
            self._remove(kind, message_id)

    def _remove(self, tag: str, message_id: str, kind: str | None = None) -> bool:
        for at, node in enumerate(self._in_flight):
            if node.tag == tag and node.text("id") == message_id and kind in (None, node.text("type")):
                del self._in_flight[at]
                return True
        return False


def _message_ids(receipt: Node) -> list[str]:
    """A receipt for several messages names the rest of them in a list (whatsmeow: ``parseReceipt``)."""
    more = receipt.child("list")
    return [receipt.text("id"), *(item.text("id") for item in (more.children if more else ()))]
