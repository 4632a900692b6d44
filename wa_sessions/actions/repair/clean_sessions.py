"""Mending Bad MAC by hand: sessions and sender keys away, so that they are made anew."""

from wa_sessions.actions.engine.changes import Change
from wa_sessions.keys.selection import CONVERSATIONS, CONVERSATIONS_AND_PRE_KEYS, Selection, of_peer, parse_peer

RECIPE_WARNING = (
    "--recipe takes the pre-keys too. Measured: peers that wrote and were never answered, and new peers that hold one "
    "of our one-time keys, then fail with Invalid PreKey ID. The least that mends is one peer's session: --peer."
)
BROAD_WARNING = (
    "this takes the sessions of all peers. Measured: the next message of every established peer then fails with No "
    "session record until it is sent again. If one peer fails, --peer takes that one's alone."
)


def change(*, peer: str | None = None, recipe: bool = False, reason: str = "sessions cleaned by an operator") -> Change:
    """Take the sessions and sender keys of one peer, or of all; ``recipe`` also takes the pre-keys.

    Raises UsageError for what is no peer.
    """
    selection = _selection(peer, recipe=recipe)
    arguments = {"action": "clean_sessions", "selection": selection.as_dict()}
    return Change("clean_sessions", "keys_quarantined", reason, selection, verb="clean", arguments=arguments)


def _selection(peer: str | None, *, recipe: bool) -> Selection:
    if peer is not None:
        return of_peer(parse_peer(peer))
    return CONVERSATIONS_AND_PRE_KEYS if recipe else CONVERSATIONS
