"""From one client to others: messages, receipts, groups (whatsmeow: ``send.go``, ``message.go``, ``receipt.go``).

Putting something into a mailbox cannot fail, so no receiver's trouble reaches a sender.
"""

import time
from collections.abc import Sequence

from wa_sessions.emulator.accounts import Device
from wa_sessions.emulator.mailbox import RETRY
from wa_sessions.emulator.network import Network
from wa_sessions.emulator.stanza import GROUP, JID, LID, SERVER_JID, Attrs, Node

SHARED_PARTS = ("device-identity", "enc", "meta")


class Router:
    """Carries stanzas between devices. What is meant for a phone itself (device 0) ends here: it keeps quiet."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def message(self, sender: Device, node: Node) -> Node:
        """Carry a message; returns what its sender is told."""
        to, now = node.jid("to"), int(time.time())
        attrs: Attrs = {
            "id": node.text("id"),
            "t": now,
            "type": node.text("type") or "text",
            "notify": sender.phone.name,
            "edit": node.attrs.get("edit"),
        }
        shared = [part for part in node.children if part.tag in SHARED_PARTS]
        if to.server == GROUP:
            self._to_group(sender, node, attrs, shared)
        elif node.child("participants") is None:
            self._put(to, Node("message", attrs | _origin(sender, to), shared), sender)
        else:
            self._to_participants(sender, node, attrs, shared)
        return Node("ack", {"class": "message", "id": node.text("id"), "from": to, "t": now})

    def receipt(self, sender: Device, node: Node) -> Node:
        """Carry a receipt to whom it concerns; returns what its sender is told."""
        to, kind = node.attrs.get("to", SERVER_JID), node.text("type")
        if not isinstance(to, JID):
            to = SERVER_JID
        if kind == RETRY:
            sender.retry_receipts.append((node.text("id"), node.need("retry").number("count")))
        attrs: Attrs = {"id": node.text("id"), "t": int(time.time()), "type": kind}
        participant = node.attrs.get("participant")
        if to.server == GROUP:
            if isinstance(participant, JID):
                group = attrs | {"from": to, "participant": sender.lid}
                self._put(participant, Node("receipt", group, node.content), sender)
        elif to.user:
            origin: Attrs = {
                "from": sender.lid if to.server == LID else sender.jid,
                "recipient": node.attrs.get("recipient"),
            }
            self._put(to, Node("receipt", attrs | origin, node.content), sender)
        told: Attrs = {"class": "receipt", "id": node.text("id"), "from": to, "type": kind, "participant": participant}
        return Node("ack", told)

    def _to_participants(self, sender: Device, node: Node, attrs: Attrs, shared: Sequence[Node]) -> None:
        """Each device has a payload of its own; one's own other devices are told whom it was for."""
        common = [part for part in shared if part.tag != "enc"]
        for target in node.need("participants").children:
            address = target.jid("jid")
            extra: Attrs = {}
            if sender.phone.owns(address):
                extra = {"recipient": node.jid("to"), "peer_recipient_pn": node.attrs.get("peer_recipient_pn")}
            copy = Node("message", attrs | _origin(sender, address) | extra, [*target.children, *common])
            self._put(address, copy, sender)

    def _to_group(self, sender: Device, node: Node, attrs: Attrs, shared: Sequence[Node]) -> None:
        """Everyone gets the group's payload, and whoever lacks the sender key a payload with it before that."""
        group = node.jid("to")
        attrs = attrs | {
            "from": group,
            "participant": sender.lid,
            "participant_pn": sender.jid,
            "addressing_mode": "lid",
        }
        retried = node.attrs.get("participant")
        if isinstance(retried, JID):
            self._put(retried, Node("message", attrs, shared), sender)
            return
        targets = node.child("participants")
        own = {target.jid("jid"): target.children for target in (targets.children if targets else ())}
        for phone in self._network.groups.get(group.user, ()):
            for device in phone.devices:
                if device is not sender:
                    copy = Node("message", attrs, [*own.get(device.lid, ()), *shared])
                    self._network.deliver(device, copy, sender.phone)

    def _put(self, address: JID, node: Node, sender: Device) -> None:
        device = self._network.device(address)
        if device is not None:
            self._network.deliver(device, node, sender.phone)


def _origin(sender: Device, to: JID) -> Attrs:
    """A message comes from the kind of address that it was sent to, with the other kind beside it."""
    if to.server == LID:
        return {"from": sender.lid, "sender_pn": sender.jid}
    return {"from": sender.jid, "sender_lid": sender.lid}
