"""Stanzas and addresses: the values that travel between WhatsApp's server and its clients."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from wa_sessions.emulator.errors import Malformed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SERVER = "s.whatsapp.net"
LID = "lid"
GROUP = "g.us"


@dataclass(frozen=True, slots=True)
class JID:
    """An address: a user, one of a user's devices (0 is the phone itself), a group or the server."""

    user: str
    server: str = SERVER
    device: int = 0

    def __str__(self) -> str:
        device = f":{self.device}" if self.device else ""
        return f"{self.user}{device}@{self.server}" if self.user else self.server


SERVER_JID = JID("")

Value: TypeAlias = str | int | JID | None
Attrs: TypeAlias = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Node:
    """One stanza or a part of one. Attributes that are ``None`` or empty are not sent."""

    tag: str
    attrs: Mapping[str, Value] = field(default_factory=dict)
    content: bytes | Sequence[Node] | None = None

    @property
    def children(self) -> Sequence[Node]:
        return () if self.content is None or isinstance(self.content, bytes) else self.content

    def child(self, *path: str) -> Node | None:
        """The first descendant along this path of tags."""
        node: Node | None = self
        for tag in path:
            node = next((child for child in node.children if child.tag == tag), None) if node else None
        return node

    def need(self, *path: str) -> Node:
        """The descendant along this path, which must be there."""
        node = self.child(*path)
        if node is None:
            raise Malformed(f"<{self.tag}> has no <{'/'.join(path)}>")
        return node

    def data(self, *path: str) -> bytes:
        """The bytes inside the descendant along this path."""
        node = self.need(*path)
        if not isinstance(node.content, bytes):
            raise Malformed(f"<{node.tag}> holds no bytes")
        return node.content

    def text(self, name: str) -> str:
        """An attribute as text, empty if absent."""
        value = self.attrs.get(name)
        return "" if value is None else str(value)

    def jid(self, name: str) -> JID:
        """An attribute that must be an address."""
        value = self.attrs.get(name)
        if not isinstance(value, JID):
            raise Malformed(f"<{self.tag}> has no address in {name!r}")
        return value

    def number(self, name: str) -> int:
        """An attribute as a whole number, 0 if absent."""
        text = self.text(name)
        if text and not text.isdecimal():
            raise Malformed(f"<{self.tag}> has {text!r} in {name!r}")
        return int(text or 0)

    def with_content(self, content: bytes | Sequence[Node] | None) -> Node:
        return replace(self, content=content)

    def __str__(self) -> str:
        attrs = "".join(f' {name}="{value}"' for name, value in self.attrs.items() if value not in (None, ""))
        if isinstance(self.content, bytes):
            return f"<{self.tag}{attrs}>[{len(self.content)} bytes]</{self.tag}>"
        inside = "".join(map(str, self.children))
        return f"<{self.tag}{attrs}>{inside}</{self.tag}>" if inside else f"<{self.tag}{attrs}/>"
