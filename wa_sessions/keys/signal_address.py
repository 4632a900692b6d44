"""The name under which whatsmeow's store files a sender."""

import re

_AGENTS = {"lid": 1, "hosted": 128, "hosted.lid": 129}
_USER = re.compile(r"(?P<user>[^.:@]+)(?:\.(?P<agent>\d+))?(?::(?P<device>\d+))?")


def signal_address(jid: str) -> str:
    """The Signal address of a JID; ``ValueError`` where it names no user.

    >>> signal_address("99887766:1@lid")
    '99887766_1:1'
    >>> signal_address("77051234567@s.whatsapp.net")
    '77051234567:0'
    """
    user, agent, device, server = _parts(jid)
    number = _AGENTS.get(server, 0 if server == "s.whatsapp.net" else agent)
    return f"{user}_{number}:{device}" if number else f"{user}:{device}"


def user_of(jid: str) -> str:
    """The user part alone, as whatsmeow's map of LIDs to numbers holds it.

    >>> user_of("99887766:1@lid")
    '99887766'
    """
    return _parts(jid)[0]


def is_lid(jid: str) -> bool:
    """Whether a JID hides the number behind a LID."""
    return jid.endswith("@lid")


def twin(jid: str, other_user: str) -> str:
    """The same device under its other name: ``other_user`` is the LID of a number, or the number of a LID.

    >>> twin("77051234567:2@s.whatsapp.net", "99887766")
    '99887766:2@lid'
    """
    device = _parts(jid)[2]
    return f"{other_user}:{device}@{'s.whatsapp.net' if is_lid(jid) else 'lid'}"


def _parts(jid: str) -> tuple[str, int, int, str]:
    local, _, server = jid.partition("@")
    match = _USER.fullmatch(local)
    if match is None:
        raise ValueError(f"no user in the JID {jid[:60]!r}")
    return match["user"], int(match["agent"] or 0), int(match["device"] or 0), server
