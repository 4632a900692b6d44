"""The only importer of neonize: clients in a host, what they report as frames.

``gocode.Neonize`` is called directly, not neonize's ``connect()``: so each client has a log callback of its own, whose
lines need no guessing, and one thread less. What neonize 0.5.2 does not offer as an event is read from whatsmeow's log
lines; nothing below WARN is asked for, because lower levels print whole stanzas. Only findings leave this module: no
raw log line, and no key.
"""

import ctypes
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Protocol

import pylibmagic  # noqa: F401  # neonize needs a libmagic that the machine may lack
from neonize import events as neonize_events
from neonize._binder import func_callback_bytes, func_callback_bytes2, func_string, gocode
from neonize.client import DeviceProps
from neonize.exc import LogoutError, SendMessageError
from neonize.proto.Neonize_pb2 import JID, LogEntry, SendMessageReturnFunction
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message

from wa_sessions.errors import DatabaseError
from wa_sessions.health.classify import StoreFailure, TemporaryBan, UnsyncedCollection, read_line
from wa_sessions.plain_text import plain_id, plain_text
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.hosts.delivery_window import DeliveryWindow
from wa_sessions.worker.hosts.events import (
    incoming,
    is_for_handlers,
    is_key_distribution,
    jid_text,
    reason_name,
    source_string,
    undecrypted,
)
from wa_sessions.worker.hosts.failed_copies import FailedCopies
from wa_sessions.worker.hosts.gate import MapGate
from wa_sessions.worker.hosts.sockets import StoreAddress, ends_or_is_cut, store_address, tcp_sockets

START_TURN = 5.0
"""Seconds that a start may keep others waiting; then it gives up its turn and goes on by itself."""

QUIET = 0.2
"""Seconds without an event, counted from the disconnect at the earliest, after which a client has told everything."""

STEPS = 5
"""Steps in the store that a message takes at most from when it was read off the WebSocket until it is told."""

DRAIN_TIMEOUT = 3.0
"""Seconds at most for what Go has queued."""

_ERROR = "error: "
_BETWEEN_DEVICES = "|\x01|"
_LOGIN = re.compile(r"://[^\s@]*@")
_INTERNAL = "internal error"
_NOT_THE_STORE = ("websocket", "noise", "invalid UTF-8", _INTERNAL)

_GIVEN_TO_GO: list[Any] = []  # Go may log long after a client has stopped: a callback that is gone ends the process


class Tell(Protocol):
    """Takes what a client has to tell, together what belongs together."""

    def __call__(self, *events: protocol.ClientEvent) -> None: ...


def prepare_store(store_url: str) -> list[str]:
    """Make or upgrade whatsmeow's tables, which two clients starting at once on an empty store cannot do.

    Returns the JIDs of the devices that are in it. Raises DatabaseError if the store cannot be used. neonize's own
    ``get_all_devices_from_db`` can read neither an error nor a device whose push name has a comma (0.5.2).
    """
    callback = func_callback_bytes2(lambda _address, _size: None)
    _GIVEN_TO_GO.append(callback)
    answer = gocode.GetAllDevices(store_url.encode(), callback).decode()
    if answer.startswith(_ERROR):
        raise DatabaseError(_without_login(answer.removeprefix(_ERROR)))
    return [device.partition(",")[0] for device in answer.split(_BETWEEN_DEVICES) if device]


class Client:
    """One login of one phone. ``tell`` is called on threads of Go and of this client, one event at a time.

    Go knows it by a key that is new for each start: its maps outlive a client.
    """

    def __init__(self, client: int, gate: MapGate, tell: Tell, *, deliver: bool, window: int = 0) -> None:
        self.client = client
        self.last_event = time.monotonic()
        self._key = f"{client}.{uuid.uuid4().hex}".encode()
        self._gate, self._tell, self._deliver = gate, tell, deliver
        self._window = DeliveryWindow(window)
        self._copies, self._lock = FailedCopies(), threading.Lock()
        self._entered, self._ended = threading.Event(), threading.Event()
        self._begun = self._closing = self._pairing = self._logged_in = False
        self._sockets_before: frozenset[str] = frozenset()
        self._store = StoreAddress(frozenset(), frozenset())

    # ------------------------------------------------------------------------------------------ begin and end

    def begin(self) -> bool:
        """Whether it may start; not if it was closed while it waited for its turn."""
        with self._lock:
            self._begun = not self._closing
            return self._begun

    def cancel(self) -> bool:
        """Let it not start any more, and tell no failure; True if it had not begun."""
        self._window.open()
        with self._lock:
            self._closing = True
            return not self._begun

    def start(self, store_url: str, device: str | None) -> None:
        """Connect as ``device``, or show QR codes. Returns when Go's maps hold this client, or after ``START_TURN``.

        A ``device`` whose row is gone from the store ends the whole process (a Go panic): look before.
        """
        self._pairing, self._store = device is None, store_address(store_url)
        with self._gate.starting():
            self._tell(protocol.Starting(self.client))
            self._sockets_before = frozenset(tcp_sockets())
            threading.Thread(target=self._run, args=(store_url, device), name=f"client {self.client}").start()
            self._entered.wait(START_TURN)

    def close(self, *, drain: bool) -> bool:
        """Close the WebSocket, with ``drain`` hear out what has arrived, end. False if it does not end."""
        if self.cancel():
            return True
        if not ends_or_is_cut(self.disconnect, hangs=self._connects, before=self._sockets_before, store=self._store):
            return False
        if drain:
            self.hear_out(time.monotonic() + DRAIN_TIMEOUT)
        self._stop()
        return self._pairing or self._ended.wait(DRAIN_TIMEOUT)  # an expired pairing never returns (0.5.2)

    def messages_taken(self, count: int) -> None:
        """So many messages of those that were told are safe."""
        self._window.taken(count)

    def disconnect(self) -> None:
        """Close the WebSocket; what Go has queued still arrives. May block for long."""
        with self._gate.looking():
            gocode.Disconnect(self._key)
        self.last_event = time.monotonic()

    def leave(self, until: float) -> None:
        """Close the WebSocket and hear out what has arrived; nothing else may be asked of this client any more."""
        self.disconnect()
        self.hear_out(until)

    def hear_out(self, until: float) -> None:
        """Wait for ``STEPS`` in the store, then until nothing was told for ``QUIET``; at most ``until`` (monotonic).

        A message in the middle of being decrypted is told after some steps there, however long they take. If it is not
        heard out it is lost: WhatsApp sends it again, and whatsmeow takes that for a copy that it has had.
        """
        pause = threading.Event()
        looking = threading.Thread(target=self._look_into_store, name=f"look {self.client}", daemon=True)
        looking.start()
        looking.join(max(0.0, until - time.monotonic()))
        looked = time.monotonic()
        while (left := min(max(self.last_event, looked) + QUIET, until) - time.monotonic()) > 0:
            pause.wait(left)

    def _look_into_store(self) -> None:
        """Nothing in particular: what makes others wait there makes this wait."""
        nobody = JID(User="0", Server="s.whatsapp.net", RawAgent=0, Device=0, Integrator=0, IsEmpty=False)
        buffer = nobody.SerializeToString()
        for _ in range(STEPS if self._logged_in else 0):  # one that never was has no store in Go
            with self._gate.looking():
                gocode.GetChatSettings(self._key, buffer, len(buffer))

    def _connects(self) -> bool:
        """A connect that hangs holds the lock that Disconnect wants."""
        return not self._entered.is_set()

    def _stop(self) -> None:
        with self._gate.stopping():
            gocode.Stop(self._key)
        with self._lock:
            self._copies = FailedCopies()

    def _run(self, store_url: str, device: str | None) -> None:
        try:
            error = self._neonize(store_url, device)
        except Exception as failure:  # noqa: BLE001  # nobody else would tell that this client has ended
            error = f"{_INTERNAL}: {failure!r}"
        self._entered.set()
        self._ended.set()
        self._window.open()
        if self._closing or not error:
            return
        self.disconnect()  # Go's client may live on: an event that does not encode ends only neonize's loop
        self._stop()
        in_store = not any(words in error for words in _NOT_THE_STORE)
        self._tell(protocol.ConnectFailed(self.client, in_store, _without_login(error)))

    def _neonize(self, store_url: str, device: str | None) -> str:
        """Go's event loop, until the client is stopped; an error's text, or nothing."""
        subscribed = bytearray(_SUBSCRIBED)
        callbacks = (
            func_string(self._qr),
            func_string(self._login_status),
            func_callback_bytes(self._event),
            func_callback_bytes2(self._log),
            (ctypes.c_char * len(subscribed)).from_buffer(subscribed),
        )
        _GIVEN_TO_GO.append(callbacks)
        props = DeviceProps(os="Neonize", platformType=DeviceProps.SAFARI).SerializeToString()
        jid = _jid(device).SerializeToString() if device else b""
        given = (store_url.encode(), self._key, jid, len(jid), int(device is None), b"WARN", *callbacks)
        no_code_no_proxy = (b"", 0, None)
        answer: bytes = gocode.Neonize(*given, len(subscribed), props, len(props), *no_code_no_proxy)
        return answer.decode(errors="replace")

    # ----------------------------------------------------------------------------------------------- requests

    def send_text(self, to: str, text: str) -> str:
        """Send a text to a number, user JID or group JID; the message's id. Raises SendMessageError, ValueError."""
        jid, message = _jid(to).SerializeToString(), Message(conversation=text).SerializeToString()
        with self._gate.looking():
            answer = gocode.SendMessage(self._key, jid, len(jid), message, len(message))
        sent = SendMessageReturnFunction.FromString(answer)
        if sent.Error:
            raise SendMessageError(sent.Error)
        return str(sent.SendResponse.ID)

    def unlink(self) -> None:
        """Have WhatsApp remove this device, which also deletes its rows. Raises LogoutError."""
        with self._gate.looking():
            error = gocode.Logout(self._key)
        if error:
            raise LogoutError(error.decode(errors="replace"))

    # -------------------------------------------------------------------------------------- what Go calls

    def _qr(self, _key: int, code: int) -> None:
        self._entered.set()  # Go's maps hold this client; it looks into them again only when it has paired
        self._tell(protocol.QrCode(self.client, ctypes.string_at(code).decode()))

    def _login_status(self, _key: int, status: int) -> None:
        said = ctypes.string_at(status).decode(errors="replace")
        if said != "success":
            self._tell(protocol.PairingFailed(self.client, plain_text(said)))

    def _event(self, _key: bytes, address: int, size: int, code: int) -> None:
        self._entered.set()  # code 0 comes first: the event loop has looked into Go's maps by now
        self.last_event = time.monotonic()
        try:
            if kind := _SUBSCRIBED.get(code):
                self._report(kind.FromString(ctypes.string_at(address, size)))
        except Exception as error:  # noqa: BLE001  # one event that cannot be read must not end the others
            print(f"an event of kind {code} was not understood: {type(error).__name__}", file=sys.stderr)  # noqa: T201
        self.last_event = time.monotonic()

    def _report(self, event: Any) -> None:
        match event:
            case neonize_events.MessageEv():
                self._message(event)
            case neonize_events.UndecryptableMessageEv():
                self._undecryptable(event)
            case _:
                self._logged_in |= isinstance(event, neonize_events.ConnectedEv)
                self._tell(_FRAMES[type(event)](self.client, event))

    def _message(self, event: Any) -> None:
        if is_key_distribution(event.Message):
            return
        source = event.Info.MessageSource
        sender, chat = jid_text(source.Sender), jid_text(source.Chat)
        decrypted = protocol.Decrypted(self.client, plain_id(event.Info.ID), sender, chat)
        if self._deliver and is_for_handlers(event.Message):
            self._tell(decrypted, protocol.MessageArrived(self.client, incoming(event)))
            self._window.told()
        else:
            self._tell(decrypted)

    def _undecryptable(self, event: Any) -> None:
        source = event.Info.MessageSource
        with self._lock:
            why = self._copies.event(event.Info.ID, source_string(source))
            exhausted = self._copies.after_event()
        if why is not None or not event.IsUnavailable:
            self._tell(undecrypted(self.client, event, why))
        self._exhausted(exhausted)

    def _exhausted(self, ids: list[str]) -> None:
        for message_id in ids:
            self._tell(protocol.RetriesExhausted(self.client, plain_id(message_id)))

    def _log(self, address: int, size: int) -> None:
        if not address or size <= 0:
            return
        line = LogEntry.FromString(ctypes.string_at(address, size)).Message
        with self._lock:
            exhausted = self._copies.line(line)
        self._exhausted(exhausted)
        match read_line(line):
            case UnsyncedCollection(collection, cause):
                self._tell(protocol.Unsynced(self.client, plain_id(collection), cause))
            case StoreFailure():
                self._tell(protocol.StoreFailed(self.client))
            case TemporaryBan(seconds):
                self._tell(protocol.Banned(self.client, seconds))
            case None:
                pass


def _pair_status(client: int, event: Any) -> protocol.ClientEvent:
    if event.Error:
        return protocol.PairingFailed(client, plain_text(event.Error))
    return protocol.Paired(client, jid_text(event.ID))


_FRAMES: dict[Any, Callable[[int, Any], protocol.ClientEvent]] = {
    neonize_events.PairStatusEv: _pair_status,
    neonize_events.ConnectedEv: lambda client, _: protocol.Connected(client),
    neonize_events.DisconnectedEv: lambda client, _: protocol.Disconnected(client),
    neonize_events.KeepAliveTimeoutEv: lambda client, _: protocol.PingUnanswered(client),
    neonize_events.KeepAliveRestoredEv: lambda client, _: protocol.PingAnswered(client),
    neonize_events.StreamReplacedEv: lambda client, _: protocol.Replaced(client),
    neonize_events.LoggedOutEv: lambda client, event: protocol.LoggedOut(client, reason_name(event)),
    neonize_events.ClientOutdatedEv: lambda client, _: protocol.Outdated(client),
    neonize_events.ConnectFailureEv: lambda client, event: protocol.LoginRefused(client, reason_name(event)),
    neonize_events.StreamErrorEv: lambda client, event: protocol.StreamError(client, plain_text(event.Code)),
}
_MESSAGES = (neonize_events.MessageEv, neonize_events.UndecryptableMessageEv)
_SUBSCRIBED = {neonize_events.EVENT_TO_INT[kind]: kind for kind in (*_FRAMES, *_MESSAGES)}
"""Not the temporary ban, which is read from the log: its event does not encode for reasons unknown to neonize."""


def _jid(text: str) -> Any:
    user, _, server = text.partition("@")
    user, _, device = user.partition(":")
    return JID(
        User=user, Device=int(device or 0), Server=server or "s.whatsapp.net", RawAgent=0, Integrator=0, IsEmpty=False
    )


def _without_login(error: str) -> str:
    return plain_text(_LOGIN.sub("://***@", error))
