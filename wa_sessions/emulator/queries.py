"""Answers to info queries (``<iq>``): keys, devices, app state, groups, media hosts, keepalive."""

import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

from wa_sessions.emulator.accounts import Device, Phone, PreKey
from wa_sessions.emulator.app_state import COLLECTIONS, AppStateDamage
from wa_sessions.emulator.errors import Malformed
from wa_sessions.emulator.neonize_files import sync
from wa_sessions.emulator.network import Network
from wa_sessions.emulator.stanza import JID, LID, SERVER_JID, Attrs, Node

MEDIA_HOST = "mmg.whatsapp.net"
APP_STATE_MEDIA = b"WhatsApp App State Keys"
CURVE_TYPE = b"\x05"

Answer: TypeAlias = Node | None
Handler: TypeAlias = Callable[[Device, Node], list[Node] | None]


class Queries:
    """One answer for each namespace; what nobody needs an answer to is answered with an empty result."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._handlers: dict[str, Handler] = {
            "encrypt": self._encrypt,
            "usync": self._usync,
            "w:sync:app:state": self._app_state,
            "w:g2": self._group,
            "w:m": self._media_hosts,
        }

    def answer(self, device: Device | None, iq: Node) -> Answer:
        """The result for a query, or None where the server keeps quiet."""
        attrs: Attrs = {"from": iq.attrs.get("to", SERVER_JID), "id": iq.text("id")}
        space = iq.text("xmlns")
        handler = self._handlers.get(space)
        if device is None or handler is None:
            if space == "w:p" and device is not None and device.phone.deaf:
                return None
            return Node("iq", attrs | {"type": "result"})
        content = handler(device, iq)
        if content is None:
            error = Node("error", {"code": 404, "text": "item-not-found"})
            return Node("iq", attrs | {"type": "error"}, [error])
        return Node("iq", attrs | {"type": "result"}, content or None)

    def _encrypt(self, device: Device, iq: Node) -> list[Node]:
        """Prekeys: how many are left, which, new ones, or other devices' (whatsmeow: ``prekeys.go``)."""
        if iq.child("count"):
            return [Node("count", {"value": self._prekey_count(device)})]
        if iq.child("digest"):
            return [_digest(device)]
        if rotated := iq.child("rotate"):
            device.signed_prekey = _read_prekey(rotated.need("skey"))
            return []
        if iq.text("type") == "set":
            device.prekeys.extend(map(_read_prekey, iq.need("list").children))
            device.signed_prekey = _read_prekey(iq.need("skey"))
            device.uploaded_prekeys, device.asked_for_prekeys = True, False
            return []
        asked = iq.need("key").children
        return [Node("list", {}, [self._bundle(user.jid("jid")) for user in asked])]

    def _prekey_count(self, device: Device) -> int:
        """How many keys are left. A new client that hears of none takes half a second to make 812 of them, one
        that hears of a single one makes 50 (whatsmeow: ``uploadPreKeys``)."""
        return len(device.prekeys) if device.uploaded_prekeys else 1

    def _bundle(self, jid: JID) -> Node:
        phone, device = self._network.phone(jid.user), self._network.device(jid)
        attrs: Attrs = {"jid": jid, "t": int(time.time())}
        if phone is not None and jid.device == 0:
            owner: Phone | Device = phone
            identity, one_time = phone.identity.public, None
        elif device is not None and not device.removed:
            owner, identity, one_time = device, device.identity, self._network.take_prekey(device)
        else:
            return Node("user", attrs, [Node("error", {"code": 404, "text": "item-not-found"})])
        parts = [
            Node("registration", {}, owner.registration_id),
            Node("type", {}, CURVE_TYPE),
            Node("identity", {}, identity),
            _write_prekey("skey", owner.signed_prekey),
        ]
        return Node("user", attrs, parts + ([_write_prekey("key", one_time)] if one_time else []))

    def _usync(self, device: Device, iq: Node) -> list[Node]:
        """Who is on WhatsApp, under which LID and with which devices (whatsmeow: ``user.go``)."""
        request = iq.need("usync")
        kinds = [kind.tag for kind in request.need("query").children]
        users = (self._user(device, user, kinds) for user in request.need("list").children)
        return [Node("usync", {}, [Node("list", {}, [user for user in users if user])])]

    def _user(self, device: Device, user: Node, kinds: Iterable[str]) -> Answer:
        jid, contact = user.attrs.get("jid"), user.child("contact")
        if contact is not None and not isinstance(jid, JID):
            jid = JID(contact.data().decode(errors="replace").lstrip("+").partition("@")[0])
        if not isinstance(jid, JID):
            raise Malformed("a user without an address")
        phone = self._network.phone(jid.user)
        if phone is None:
            return Node("user", {"jid": jid}, [Node("contact", {"type": "out"})]) if contact else None
        if "devices" in kinds:
            phone.watchers.add(device)
        known = self._known(phone)
        return Node("user", {"jid": jid}, [known[kind] for kind in kinds if kind in known])

    def _known(self, phone: Phone) -> dict[str, Node]:
        ids = [0, *(device.id for device in phone.devices)]
        listed = [Node("device", {"id": i, "key-index": i or None}) for i in ids]
        return {
            "devices": Node("devices", {}, [Node("device-list", {}, listed)]),
            "lid": Node("lid", {"val": phone.lid_jid}),
            "contact": Node("contact", {"type": "in"}),
            "status": Node("status", {}, b"emulated"),
            "picture": Node("picture"),
            "business": Node("business"),
        }

    def _app_state(self, device: Device, iq: Node) -> list[Node]:
        collections = iq.need("sync").children
        return [Node("sync", {}, [self._app_state_of(device, asked) for asked in collections])]

    def _app_state_of(self, device: Device, asked: Node) -> Node:
        """A client either brings a patch of its own, which the account's other devices then hear of, or asks."""
        phone, name = device.phone, asked.text("name")
        if name not in COLLECTIONS:
            raise Malformed(f"no app state {name!r}")
        if not asked.child("patch"):
            return self._collection(phone, asked)
        if not phone.app_state.accept(name, asked.number("version"), asked.data("patch")):
            conflict = Node("error", {"code": 409, "text": "conflict"})
            return Node("collection", {"name": name, "type": "error", "has_more_patches": "true"}, [conflict])
        for other in phone.devices:
            if other is not device:
                self._network.notify_app_state(other, name)
        return Node("collection", {"name": name, "version": phone.app_state.version(name)})

    def _collection(self, phone: Phone, asked: Node) -> Node:
        """What a collection's sync is answered with: a snapshot if it is wanted and there is one, or patches."""
        name = asked.text("name")
        version, fault = phone.app_state.version(name), self._network.faults.app_state(phone, name)
        damage = fault.damage if fault else None
        snapshots = self._network.snapshots or (damage is not None and damage.needs_snapshot)
        attrs: Attrs = {"name": name, "version": version, "has_more_patches": "false"}
        if version and snapshots and asked.text("return_snapshot") == "true":
            if fault is not None and fault.damage.needs_snapshot:
                fault.strike()
            return Node("collection", attrs, [Node("snapshot", {}, self._snapshot(phone, name, damage))])
        patches = phone.app_state.patches_since(name, asked.number("version"), damage)
        if fault is not None and patches and not fault.damage.needs_snapshot:
            fault.strike()
        return Node("collection", attrs, [Node("patches", {}, [Node("patch", {}, patch) for patch in patches])])

    def _snapshot(self, phone: Phone, name: str, damage: AppStateDamage | None) -> bytes:
        """A snapshot is a file elsewhere; the answer only refers to it."""
        data = phone.app_state.snapshot(name, damage)
        spoil, lose = damage is AppStateDamage.SNAPSHOT_MEDIA, damage is AppStateDamage.SNAPSHOT_MISSING
        file = self._network.media.put(data, APP_STATE_MEDIA, spoil=spoil, lose=lose)
        reference = sync.ExternalBlobReference(
            mediaKey=file.key,
            directPath=file.path,
            fileSizeBytes=file.size,
            fileSHA256=file.sha256,
            fileEncSHA256=file.encrypted_sha256,
        )
        return bytes(reference.SerializeToString())

    def _group(self, _device: Device, iq: Node) -> list[Node] | None:
        """A group's members, by LID (whatsmeow: ``group.go``)."""
        group_id = iq.jid("to").user
        members = self._network.groups.get(group_id)
        if members is None:
            return None
        attrs: Attrs = {
            "id": group_id,
            "subject": "emulated",
            "addressing_mode": LID,
            "creation": int(time.time()),
            "creator": members[0].lid_jid,
        }
        people = [Node("participant", {"jid": m.lid_jid, "phone_number": m.jid}) for m in members]
        return [Node("group", attrs, people)]

    def _media_hosts(self, _device: Device, _iq: Node) -> list[Node]:
        attrs: Attrs = {"auth": "emulated", "ttl": 300, "auth_ttl": 300, "max_buckets": 12}
        return [Node("media_conn", attrs, [Node("host", {"hostname": MEDIA_HOST})])]


def _digest(device: Device) -> Node:
    """What the server holds of a device, so that the device can compare (Baileys 7 asks after every login)."""
    prekeys = [Node("id", {}, prekey.id) for prekey in device.prekeys]
    parts = [
        Node("registration", {}, device.registration_id),
        Node("type", {}, CURVE_TYPE),
        Node("identity", {}, device.identity),
        _write_prekey("skey", device.signed_prekey),
        Node("list", {}, prekeys),
    ]
    return Node("digest", {}, parts)


def _read_prekey(node: Node) -> PreKey:
    signature = node.data("signature") if node.child("signature") else None
    return PreKey(node.data("id"), node.data("value"), signature)


def _write_prekey(tag: str, prekey: PreKey) -> Node:
    parts = [Node("id", {}, prekey.id), Node("value", {}, prekey.public)]
    return Node(tag, {}, parts + ([Node("signature", {}, prekey.signature)] if prekey.signature else []))
