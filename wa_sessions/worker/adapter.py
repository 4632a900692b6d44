"""The only importer of neonize: one client in one process, its events as plain dictionaries.

One process holds one session, so a log line, a Go panic, a leaked database pool or a ``connect()`` that never returns
belongs to that session alone. What neonize 0.5.2 does not offer as an event is read from whatsmeow's log lines, which
Go hands over synchronously before the event that they explain; nothing below WARN is asked for, because lower levels
print whole stanzas. Only findings leave this module: no text of a message, no raw log line.
"""

import ctypes
import logging
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pylibmagic  # noqa: F401  # neonize needs a libmagic that the machine may lack
from neonize import client as neonize_client
from neonize import events
from neonize.proto.Neonize_pb2 import JID, LogEntry
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message
from neonize.utils.log import log as neonize_log

from wa_sessions.errors import DatabaseError
from wa_sessions.health.classify import StoreFailure, UndecryptedMessage, classify
from wa_sessions.worker.message import IncomingMessage

Emit = Callable[..., None]

_BAN = "Temporary ban connect failure: "
_BAN_SECONDS = re.compile(r'\bexpire="(\d+)"')
_ERROR = "error: "
_BETWEEN_DEVICES = "|\x01|"
_LOGIN = re.compile(r"://[^\s@]*@")
_SILENT = {"senderKeyDistributionMessage", "messageContextInfo", "protocolMessage"}


def prepare_store(store_url: str) -> list[str]:
    """Make or upgrade whatsmeow's tables, which two clients starting at once on an empty store cannot do.

    Returns the JIDs of the devices that are in it. Raises DatabaseError if the store cannot be used. neonize's own
    ``get_all_devices_from_db`` can read neither an error nor a device whose push name has a comma (0.5.2).
    """
    _quiet_logging()
    callback = neonize_client.func_callback_bytes2(neonize_client.log_whatsmeow)
    answer = neonize_client.gocode.GetAllDevices(store_url.encode(), callback).decode()
    if answer.startswith(_ERROR):
        raise DatabaseError(_LOGIN.sub("://***@", answer.removeprefix(_ERROR)))
    return [device.partition(",")[0] for device in answer.split(_BETWEEN_DEVICES) if device]


class Session:
    """A neonize client that reports through ``emit(event, **fields)``."""

    def __init__(self, emit: Emit, on_message: Callable[[IncomingMessage], None]) -> None:
        self._emit = emit
        self._on_message = on_message
        self._explained: Counter[str] = Counter()
        self._client: Any = None

    def start(self, store_url: str, device: str | None) -> None:
        """Connect as ``device`` (a JID whose row stands in the store), or show QR codes for a new one."""
        _quiet_logging()
        neonize_client.log_whatsmeow = self._log_entry
        jid = _jid(device) if device else None
        client = neonize_client.NewClient(store_url, jid=jid, uuid="session", new_device=device is None)
        client._NewClient__onLoginStatus = self._login_status  # how a QR pairing ended: neonize would only print it
        client.qr(lambda _client, code: self._emit("qr", code=code.decode()))
        for kind, handler in self._handlers().items():
            client.event(kind)(handler)
        self._client = client
        threading.Thread(target=self._connect, name="connect", daemon=True).start()

    def send_text(self, to: str, text: str) -> str:
        """Send a text to a number, user JID or group JID; returns the message's id."""
        return str(self._client.send_message(_jid(to), Message(conversation=text)).ID)

    def disconnect(self) -> None:
        """Close the WebSocket; events that Go has queued still arrive."""
        self._client.disconnect()

    def unlink(self) -> None:
        """Tell WhatsApp to remove this device, which also deletes its rows."""
        self._client.logout()

    def _connect(self) -> None:
        try:
            self._client.connect()
        except Exception as error:  # noqa: BLE001  # whatever ends connect() ends the session
            text = str(error)
            in_store = "websocket" not in text and "noise" not in text
            self._emit("connect_failed", store=in_store, error=type(error).__name__)

    def _handlers(self) -> dict[Any, Callable[[Any, Any], None]]:
        emit = self._emit
        return {
            events.ConnectedEv: lambda _c, _e: emit("connected"),
            events.DisconnectedEv: lambda _c, _e: emit("disconnected"),
            events.StreamReplacedEv: lambda _c, _e: emit("replaced"),
            events.LoggedOutEv: lambda _c, e: emit("logged_out", reason=_reason(e)),
            events.ClientOutdatedEv: lambda _c, _e: emit("outdated"),
            events.ConnectFailureEv: lambda _c, e: emit("login_refused", reason=_reason(e)),
            events.StreamErrorEv: lambda _c, e: emit("stream_error", code=e.Code),
            events.KeepAliveTimeoutEv: lambda _c, e: emit("no_answer", count=e.ErrorCount),
            events.KeepAliveRestoredEv: lambda _c, _e: emit("answers_again"),
            events.PairStatusEv: self._paired,
            events.MessageEv: self._message,
            events.UndecryptableMessageEv: self._undecryptable,
        }

    def _login_status(self, _uuid: int, status: int) -> None:
        self._emit("login_status", status=ctypes.string_at(status).decode())

    def _paired(self, _client: Any, event: Any) -> None:
        if event.Error:
            self._emit("pairing_failed", error=event.Error)
        else:
            self._emit("paired", jid=_text(event.ID))

    def _message(self, _client: Any, event: Any) -> None:
        source = event.Info.MessageSource
        content = {field.name for field, _ in event.Message.ListFields()}
        if content == {"senderKeyDistributionMessage"}:
            return
        self._emit("decrypted", message_id=event.Info.ID, sender=_text(source.Sender), chat=_text(source.Chat))
        if not content <= _SILENT:
            self._on_message(_incoming(event))

    def _undecryptable(self, _client: Any, event: Any) -> None:
        message_id = event.Info.ID
        if event.IsUnavailable:
            return
        if message_id in self._explained:
            self._explained -= Counter((message_id,))
            return
        source = event.Info.MessageSource
        self._emit(
            "undecrypted",
            message_id=message_id,
            sender=_text(source.Sender),
            chat=_text(source.Chat),
            cause="other",
            encryption="unknown",
        )

    def _log_entry(self, address: int, size: int) -> None:
        if not address or size <= 0:
            return
        line = LogEntry.FromString(ctypes.string_at(address, size)).Message
        if line.startswith(_BAN):  # neonize's own event fails to encode for reasons that it does not know
            expire = _BAN_SECONDS.search(line)
            self._emit("banned", seconds=int(expire[1]) if expire else 0)
            return
        match classify(line):
            case UndecryptedMessage() as finding:
                self._explained[finding.message_id] += 1
                self._emit("undecrypted", **asdict(finding))
            case StoreFailure():
                self._emit("store_failed")
            case None:
                pass
            case finding:
                self._emit(_event_name(finding), **asdict(finding))


def _event_name(finding: object) -> str:
    return {
        "DuplicateMessage": "duplicate",
        "RetriesExhausted": "retries_exhausted",
        "UnsyncedCollection": "unsynced",
    }[type(finding).__name__]


def _incoming(event: Any) -> IncomingMessage:
    message, source = event.Message, event.Info.MessageSource
    kinds = [field.name for field, _ in message.ListFields() if field.name not in _SILENT]
    body = getattr(message, kinds[0])
    text = body if isinstance(body, str) else getattr(body, "text", "") or getattr(body, "caption", "")
    return IncomingMessage(
        id=event.Info.ID,
        chat=_text(source.Chat),
        sender=_text(source.Sender),
        sender_alt=_text(source.SenderAlt) if source.SenderAlt.User else None,
        from_me=source.IsFromMe,
        is_group=source.IsGroup,
        timestamp=event.Info.Timestamp // 1000,
        kind=kinds[0],
        text=text,
        raw=message.SerializeToString(),
    )


def _reason(event: Any) -> str:
    return str(event.DESCRIPTOR.fields_by_name["Reason"].enum_type.values_by_number[event.Reason].name)


def _jid(text: str) -> Any:
    user, _, server = text.partition("@")
    user, _, device = user.partition(":")
    return JID(
        User=user, Device=int(device or 0), Server=server or "s.whatsapp.net", RawAgent=0, Integrator=0, IsEmpty=False
    )


def _text(jid: Any) -> str:
    device = f":{jid.Device}" if jid.Device else ""
    return f"{jid.User}{device}@{jid.Server}"


def _quiet_logging() -> None:
    logging.getLogger().handlers[:] = [logging.NullHandler()]
    neonize_log.setLevel(logging.WARNING)
