"""What a session host and the worker say to each other: typed frames, one JSON object a line.

A *client* is one login of one phone inside a host; its number is never used twice by a worker, so late words of an
earlier login are known as such. Texts that strangers choose (ids, names, reasons) are clean in every frame: the host's
adapter sees to that before it sends one.
"""

from dataclasses import dataclass
from typing import get_args

from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.worker.frames import Codec
from wa_sessions.worker.frames import ProtocolError as ProtocolError
from wa_sessions.worker.message import IncomingMessage

LINE_LIMIT = 64 << 20
"""Bytes of one frame. WhatsApp's own limit for a stanza is 16 MiB; base64 and JSON add to it."""

LEASE_RAN_OUT = 75
"""Exit status of a host whose lease ran out, EX_TEMPFAIL of sysexits.h; ended by SIGALRM means the same."""


# --------------------------------------------------------------------------------------- the worker to a host


@dataclass(frozen=True, slots=True)
class StartClient:
    """Log in as ``device`` (a JID whose row stands in the store), or show QR codes where there is none.

    ``deliver``: messages are handed over, not only told of. ``window``: how many of them may be told and not
    ``MessagesTaken``; 0: any number.
    """

    client: int
    store_url: str
    device: str | None
    deliver: bool
    window: int = 0


@dataclass(frozen=True, slots=True)
class MessagesTaken:
    """``count`` more of the messages that this client told are safe: it may go on with as many."""

    client: int
    count: int


@dataclass(frozen=True, slots=True)
class StopClient:
    """Close the WebSocket, tell what has arrived, end; ``Stopped`` follows."""

    client: int


@dataclass(frozen=True, slots=True)
class DropClient:
    """Close the WebSocket at once: the phone is another worker's by now. ``Stopped`` follows."""

    client: int


@dataclass(frozen=True, slots=True)
class SendText:
    """Send a text to a number, user JID or group JID; ``Answer`` has the message's id."""

    client: int
    request: int
    to: str
    text: str


@dataclass(frozen=True, slots=True)
class Unlink:
    """Have WhatsApp remove this device, which also deletes its rows; ``Answer`` follows."""

    client: int
    request: int


@dataclass(frozen=True, slots=True)
class PrepareStore:
    """Make or upgrade whatsmeow's tables; ``Answer`` has the JIDs of the devices in the store."""

    request: int
    store_url: str


@dataclass(frozen=True, slots=True)
class ExtendLease:
    """Live until ``until`` on the monotonic clock, then end with all sockets."""

    until: float


@dataclass(frozen=True, slots=True)
class EndHost:
    """Close all WebSockets side by side, tell what has arrived, and exit, within ``seconds``.

    ``Stopped`` follows for each client that was there.
    """

    seconds: float


Command = (
    StartClient | MessagesTaken | StopClient | DropClient | SendText | Unlink | PrepareStore | ExtendLease | EndHost
)


# --------------------------------------------------------------------------------- a host to the worker: clients


@dataclass(frozen=True, slots=True)
class Starting:
    """The host begins with this client now: if the host dies before the next frame of it, it is the suspect."""

    client: int


@dataclass(frozen=True, slots=True)
class Connected:
    """Logged in."""

    client: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The WebSocket is lost; whatsmeow opens another by itself."""

    client: int


@dataclass(frozen=True, slots=True)
class PingUnanswered:
    """WhatsApp did not answer a ping."""

    client: int


@dataclass(frozen=True, slots=True)
class PingAnswered:
    """WhatsApp answers pings again."""

    client: int


@dataclass(frozen=True, slots=True)
class Replaced:
    """Another client logged in with these keys."""

    client: int


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """WhatsApp removed the device; ``reason`` is neonize's name of WhatsApp's code."""

    client: int
    reason: str


@dataclass(frozen=True, slots=True)
class Outdated:
    """WhatsApp refuses this version of the client."""

    client: int


@dataclass(frozen=True, slots=True)
class LoginRefused:
    """WhatsApp refused the login."""

    client: int
    reason: str


@dataclass(frozen=True, slots=True)
class Banned:
    """Banned for ``seconds``; 0: no end was told."""

    client: int
    seconds: int


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """The login did not come about: ``in_store`` tells the store's failure from WhatsApp's. The client has ended."""

    client: int
    in_store: bool
    error: str


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """whatsmeow could not use the key store."""

    client: int


@dataclass(frozen=True, slots=True)
class StreamError:
    """WhatsApp ended the stream with a code that whatsmeow does not handle (``handleStreamError``); "" for none."""

    client: int
    code: str


@dataclass(frozen=True, slots=True)
class QrCode:
    """A code to scan; the earlier one is worth nothing any more."""

    client: int
    code: str


@dataclass(frozen=True, slots=True)
class Paired:
    """The code was scanned: the new device's JID."""

    client: int
    jid: str


@dataclass(frozen=True, slots=True)
class PairingFailed:
    """This client gives no more codes: ``timeout`` where they are used up, else what went wrong."""

    client: int
    reason: str


@dataclass(frozen=True, slots=True)
class Undecrypted:
    """One copy of a message did not decrypt. The ids are those of the event, never read out of a log line."""

    client: int
    message_id: str
    sender: str
    chat: str
    is_group: bool
    cause: Cause
    encryption: Encryption


@dataclass(frozen=True, slots=True)
class RetriesExhausted:
    """whatsmeow will not ask the sender of this message again."""

    client: int
    message_id: str


@dataclass(frozen=True, slots=True)
class Unsynced:
    """An app-state collection did not sync."""

    client: int
    collection: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class Decrypted:
    """A message decrypted."""

    client: int
    message_id: str
    sender: str
    chat: str


@dataclass(frozen=True, slots=True)
class MessageArrived:
    """A message for the handler."""

    client: int
    message: IncomingMessage


@dataclass(frozen=True, slots=True)
class Stopped:
    """The client has ended as it was asked to; all that it had was told before."""

    client: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request: its result, or an error for people."""

    request: int
    result: str | list[str] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Alive:
    """The host's threads run: told each second, and first when it is ready for clients."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """This client does not end: the host has to be emptied and killed."""

    client: int


ClientEvent = (
    Starting
    | Connected
    | Disconnected
    | PingUnanswered
    | PingAnswered
    | Replaced
    | LoggedOut
    | Outdated
    | LoginRefused
    | Banned
    | ConnectFailed
    | StoreFailed
    | StreamError
    | QrCode
    | Paired
    | PairingFailed
    | Undecrypted
    | RetriesExhausted
    | Unsynced
    | Decrypted
    | MessageArrived
    | Stopped
)
HostEvent = Answer | Alive | Stuck
Frame = Command | ClientEvent | HostEvent

_CODEC = Codec(*get_args(Frame))


def encode(frame: Frame) -> bytes:
    """One line."""
    return _CODEC.encode(frame)


def decode(line: bytes) -> Frame:
    """The frame of a line. Raises ProtocolError, which repeats nothing of the line but an unknown frame's name."""
    return _CODEC.decode(line)  # type: ignore[no-any-return]  # one of Frame
