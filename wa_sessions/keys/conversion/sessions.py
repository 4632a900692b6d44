"""Sessions with a device, from libsignal-node to libsignal for Go and back.

Node counts the last message of a chain, Go the next; Node keeps the seed of a message that was passed over, Go what is
derived from it; Node takes the key out of a chain that is over.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from wa_sessions.keys.baileys import session as node
from wa_sessions.keys.conversion.crypto import hkdf, marked
from wa_sessions.keys.conversion.remarks import Remarks
from wa_sessions.keys.device_address import Address
from wa_sessions.keys.fields import U32
from wa_sessions.keys.whatsmeow import session as go

NEWEST_CHAINS, MOST_PREVIOUS = 5, 40
"""Chains of the peer, and earlier sessions, that Go keeps (``maxReceiverChains``, ``maxArchivedStates``)."""
_CANNOT_SEND = "a session without a chain to send in is of no use there"
_LOST = "keys of messages that were passed over: those, should they still come, are lost"


@dataclass(frozen=True, slots=True, repr=False)
class BeforeState:
    """A session as Baileys had it before the takeover, and where."""

    address: Address
    state: node.SessionState


def to_go(
    address: Address, sessions: Iterable[node.Session], identity: bytes, registration_id: int, remarks: Remarks
) -> go.Session | None:
    """All sessions with a device; None if none is of use.

    The open one is the current one, the latest used if several rows of one device each had one. ``identity`` is ours.
    """
    states: dict[bytes, node.SessionState] = {}
    key = f"session-{address.baileys}"
    found = [state for session in sessions for state in session.states]
    for state in sorted(found, key=lambda state: (not state.is_open, -state.used)):
        chain = state.chains.get(state.ratchet_public)
        if chain is None or chain.key is None:
            remarks.left_out(key, _CANNOT_SEND)
        else:
            states.setdefault(state.base_key, state)
    if not states:
        return None
    if not any(state.is_open for state in states.values()):
        remarks.notice(key, "none of its sessions is open: the one that was used last is opened")
    kept = [_state_to_go(state, identity, registration_id) for state in states.values()]
    if len(kept) > MOST_PREVIOUS + 1:
        remarks.left_out(key, f"only {MOST_PREVIOUS} earlier sessions are kept there", len(kept) - MOST_PREVIOUS - 1)
    return go.Session(address, kept[0], tuple(kept[1 : MOST_PREVIOUS + 1]))


def to_node(
    session: go.Session, default: Address, now: int, before: Mapping[bytes, BeforeState], remarks: Remarks
) -> list[node.Session]:
    """All sessions with a device, in one row or, where they stood in two before, in these. ``now``: Unix ms.

    ``default`` is where Baileys files those that it has not seen; ``before`` are those that it has, by base key. One
    that was not used since then is what it was.
    """
    rows: dict[Address, dict[bytes, node.SessionState]] = {}
    lost = 0
    for age, state in enumerate(session.states):
        old = before.get(state.base_key)
        row = rows.setdefault(old.address if old else default, {})
        if state.sender is None or not state.sender.key or not state.sender.private:
            remarks.left_out(f"session-{default.baileys}", _CANNOT_SEND)
        elif state.base_key not in row:
            found, skipped = _state_to_node(state, now - age, old.state if old else None)
            closed = node.OPEN if not row else now if found.is_open else found.closed
            row[state.base_key] = found if found.closed == closed else replace(found, closed=closed)
            lost += skipped
    if lost:
        remarks.left_out(f"session-{default.baileys}", _LOST, lost)
    return [node.Session(address, tuple(states.values())) for address, states in rows.items() if states]


def _state_to_go(state: node.SessionState, identity: bytes, registration_id: int) -> go.SessionState:
    receivers = [(public, chain) for public, chain in state.chains.items() if chain.kind == node.RECEIVING]
    oldest = len(receivers) - NEWEST_CHAINS
    pending = state.pending
    return go.SessionState(
        local_identity=marked(identity),
        local_registration_id=registration_id,
        remote_identity=state.remote_identity,
        remote_registration_id=state.registration_id or 0,
        base_key=state.base_key,
        root_key=state.root_key,
        previous_counter=state.previous_counter & U32,
        sender=_chain_to_go(state.ratchet_public, state.ratchet_private, state.chains[state.ratchet_public]),
        receivers=tuple(
            [
                _chain_to_go(public, None, chain)
                for age, (public, chain) in enumerate(receivers)
                if age >= oldest or chain.message_keys
            ]
        ),
        pending=go.PendingPreKey(pending.pre_key_id or None, pending.signed_key_id, pending.base_key)
        if pending
        else None,
    )


def _chain_to_go(public: bytes, private: bytes | None, chain: node.Chain) -> go.Chain:
    seeds = sorted(chain.message_keys.items())
    keys = [_message_keys(counter, seed) for counter, seed in seeds]
    return go.Chain(public, private, chain.key, chain.counter + 1, tuple(keys))


def _message_keys(counter: int, seed: bytes) -> go.MessageKeys:
    derived = hkdf(seed, 80, b"WhisperMessageKeys")
    return go.MessageKeys(derived[:32], derived[32:64], derived[64:], counter)


def _state_to_node(state: go.SessionState, used: int, old: node.SessionState | None) -> tuple[node.SessionState, int]:
    """The session, and how many keys of messages that were passed over it lacks."""
    if old and _state_to_go(old, state.local_identity, state.local_registration_id) == state:
        return old, 0
    assert state.sender is not None
    # One that no message was read in is the peer's signed pre-key, which Node keeps no chain for.
    read = [chain for chain in state.receivers if chain.index]
    last = (read or state.receivers)[-1].public if state.receivers else state.base_key
    chains = {chain.public: _chain_to_node(chain, node.RECEIVING, old) for chain in read}
    skipped = sum(len(chain.message_keys) for chain in read) - sum(len(one.message_keys) for one in chains.values())
    chains[state.sender.public] = _chain_to_node(state.sender, node.SENDING, old)
    pending = state.pending
    found = node.SessionState(
        registration_id=state.remote_registration_id,
        ratchet_public=state.sender.public,
        ratchet_private=state.sender.private or b"",
        last_remote_key=last,
        previous_counter=-1 if state.previous_counter == go.NO_COUNTER else state.previous_counter,
        root_key=state.root_key,
        base_key=state.base_key,
        base_key_type=old.base_key_type if old else node.OURS if pending else node.THEIRS,
        closed=old.closed if old else used,
        used=used,
        created=old.created if old else used,
        remote_identity=state.remote_identity,
        chains=chains,
        pending=node.PendingPreKey(pending.signed_pre_key_id, pending.base_key, pending.pre_key_id)
        if pending
        else None,
    )
    return found, skipped


def _chain_to_node(chain: go.Chain, kind: int, old: node.SessionState | None) -> node.Chain:
    """Seeds cannot be told from what was derived of them, but those from before are still there."""
    known = old.chains.get(chain.public) if old else None
    seeds = known.message_keys if known else {}
    kept = {one.index: seeds[one.index] for one in chain.message_keys if one.index in seeds}
    return node.Chain(kind, chain.index - 1, chain.key or None, kept)
