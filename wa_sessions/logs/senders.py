"""Under which name a sender is filed: ``<user>.<device>`` as libsignal has it, or in a group ``<JID>|<group>``."""

import re

FRAME = b" [as awaitable]"
"""Stands in a stack behind the name of the queue that a message was in: its sender, or group and sender."""

_PLAIN = re.compile(rb"[0-9]{1,20}(?:_[0-9]{1,4})?\.[0-9]{1,5}")
_NAME = re.compile(rb"[0-9A-Za-z_.:@|+-]{1,160}")
_ADDRESS = re.compile(rb"(\d+)(?:_(\d+))?(?::(\d+))?@(.*)")
_OF_GROUP = re.compile(rb"([0-9-]{1,40}@g\.us|[a-z0-9]{1,40}@broadcast)::(\d+)(?:_(\d+))?::(\d+)")
AGENTS = {b"lid": b"_1", b"hosted": b"_128", b"hosted.lid": b"_129"}
"""What stands behind the user in libsignal's address, by the JID's server."""

_SERVERS = {agent[1:]: server for server, agent in AGENTS.items()}


def checked(name: bytes) -> bytes:
    """A name as the libraries write them; empty for what a damaged line has in its place."""
    return name if _NAME.fullmatch(name) else b""


def of_frame(text: bytes, begin: int, frame: int) -> bytes:
    """The name that stands before ``FRAME``, as ``at async 77019990053.2`` or, from older Node, ``at Object.7701…``."""
    name = text[text.rfind(b" ", begin, frame) + 1 : frame]
    if _PLAIN.fullmatch(name):
        return name
    name = name.removeprefix(b"Object.")
    if b"::" not in name:
        return checked(name)
    match = _OF_GROUP.fullmatch(name)
    if match is None:
        return b""
    group, user, agent, device = match.groups()
    return in_group(user + (b"" if device == b"0" else b":" + device) + b"@" + _server(agent), group)


def of_message(chat: bytes, participant: bytes) -> bytes:
    """Who wrote a message, by the chat and, in a group, the participant of its key."""
    if chat.endswith((b"@g.us", b"@broadcast")):
        return checked(in_group(participant, chat))
    return checked(of_jid(participant or chat))


def in_group(who: bytes, group: bytes) -> bytes:
    """A sender in a group."""
    return who + b"|" + group


def of_jid(jid: bytes) -> bytes:
    """A JID's address: for a LID ``<user>_1.<device>``, for hosted devices ``_128`` and ``_129``."""
    match = _ADDRESS.fullmatch(jid)
    if match is None:
        return jid
    user, agent, device, server = match.groups()
    return user + (b"_" + agent if agent else AGENTS.get(server, b"")) + b"." + (device or b"0")


def _server(agent: bytes | None) -> bytes:
    return _SERVERS.get(agent or b"", b"s.whatsapp.net")
