"""Mending Bad Decrypt by hand: app-state versions away, so that the collections sync anew."""

from wa_sessions.actions.engine.changes import Change
from wa_sessions.keys.selection import APP_STATE, APP_STATE_VERSIONS

KEYS_WARNING = (
    "--with-keys takes the app-state sync keys too. Measured: snapshot, patches and own changes then all fail to "
    "decrypt, and Baileys has no code that asks for the keys again. Taking the versions alone restores fully."
)


def change(*, with_keys: bool = False, reason: str = "app state cleaned by an operator") -> Change:
    """Take the versions of all collections; ``with_keys`` the sync keys too, as the seed's clean-app-state.js."""
    selection = APP_STATE if with_keys else APP_STATE_VERSIONS
    arguments = {"action": "clean_app_state", "selection": selection.as_dict()}
    return Change("clean_app_state", "keys_quarantined", reason, selection, verb="clean", arguments=arguments)
