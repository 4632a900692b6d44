"""The words that a database has for a phone: known ones are enums, any other stays what it is."""

from enum import StrEnum

from wa_sessions.health.reconnect import State, Status


class UnknownWord(str):
    """A word that this program does not know, of the backend or of a newer version; it is shown as it stands.

    It is equal to the same text, and to no word that is known.
    """

    __slots__ = ()


class ConnectionType(StrEnum):
    """Whose a phone is: ``"OrganizationPhone"."connectionType"``."""

    BAILEYS = "baileys"
    NEONIZE = "neonize"
    WABA = "waba"


BackendStatus = Status | UnknownWord
PhoneType = ConnectionType | UnknownWord
SessionState = State | UnknownWord


def status_of(text: str) -> BackendStatus:
    """The backend's word, however it is spelled if it is one of ours.

    >>> status_of("LOGGED_OUT"), status_of("syncing")
    (<Status.LOGGED_OUT: 'logged_out'>, 'syncing')
    """
    word = text.lower()
    return Status(word) if word in set(Status) else UnknownWord(text)


def connection_type_of(text: str) -> PhoneType:
    """Whose a phone is.

    >>> connection_type_of("waba"), connection_type_of("cloud")
    (<ConnectionType.WABA: 'waba'>, 'cloud')
    """
    return ConnectionType(text) if text in set(ConnectionType) else UnknownWord(text)


def session_state_of(text: str) -> SessionState:
    """What a worker said that a session does.

    >>> session_state_of("banned"), session_state_of("dreaming")
    (<State.BANNED: 'banned'>, 'dreaming')
    """
    return State(text) if text in set(State) else UnknownWord(text)
