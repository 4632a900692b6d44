"""Sender keys of groups, from Baileys to libsignal for Go and back."""

from collections.abc import Iterable

from wa_sessions.keys.baileys import sender_key as node
from wa_sessions.keys.conversion.crypto import hkdf, marked
from wa_sessions.keys.conversion.remarks import Remarks
from wa_sessions.keys.device_address import Address
from wa_sessions.keys.whatsmeow import sender_key as go

MOST_STATES = 5
"""Sender keys of one device in a group that both libraries keep."""


def to_go(group: str, address: Address, rows: Iterable[node.SenderKey], remarks: Remarks) -> go.SenderKey | None:
    """A device's sender keys, those of its number and of its LID put together; None if there are none.

    Node has the newest last, Go first. Where two rows have the same key, the one that has gone further is right.
    """
    states: dict[int, node.SenderKeyState] = {}
    for row in sorted(rows, key=lambda row: row.address.user == address.user):
        for state in _in_use(row.states):
            other = states.pop(state.key_id, state)
            states[state.key_id] = max(state, other, key=lambda one: one.iteration)
    if len(states) > MOST_STATES:
        remarks.left_out(f"sender-key-{group}", f"only {MOST_STATES} keys are kept there", len(states) - MOST_STATES)
    newest = list(reversed(states.values()))[:MOST_STATES]
    return go.SenderKey(group, address, tuple(map(_state_to_go, newest))) if newest else None


def to_node(key: go.SenderKey, address: Address, no_private: bytes | None) -> node.SenderKey | None:
    """A device's sender keys under the address that Baileys files it at; None if there are none.

    ``no_private`` is what a peer's key has for its private half: None in Baileys 6, no bytes in 7.
    """
    states: dict[int, node.SenderKeyState] = {}
    for state in key.states:  # of those with one id Go reads the first, Node would read the last
        if state.key_id not in states:
            states[state.key_id] = _state_to_node(state, no_private)
    return node.SenderKey(key.group, address, tuple(reversed(states.values()))) if states else None


def _in_use(states: tuple[node.SenderKeyState, ...]) -> list[node.SenderKeyState]:
    """One state for each id, where its newest stands: Node reads messages with the first and sends with the last."""
    read: dict[int, node.SenderKeyState] = {}
    places: dict[int, int] = {}
    for place, state in enumerate(states):
        if state.private or state.key_id not in read:
            read[state.key_id] = state
        places[state.key_id] = place
    return [read[key_id] for key_id in sorted(read, key=lambda key_id: places[key_id])]


def _state_to_go(state: node.SenderKeyState) -> go.SenderKeyState:
    keys = []
    for one in state.message_seeds:
        derived = hkdf(one.seed, 48, b"WhisperGroup")
        keys.append(go.MessageKey(one.iteration, derived[:16], derived[16:], one.seed))
    return go.SenderKeyState(
        state.key_id, state.iteration, state.seed, marked(state.public), state.private or None, tuple(keys)
    )


def _state_to_node(state: go.SenderKeyState, no_private: bytes | None) -> node.SenderKeyState:
    seeds = tuple(node.MessageSeed(one.iteration, one.seed) for one in state.message_keys)
    private = state.private if state.private and any(state.private) else no_private
    return node.SenderKeyState(state.key_id, state.iteration, state.chain_key, state.public, private, seeds)
