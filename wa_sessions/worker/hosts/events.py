"""What neonize's events say, texts cleaned and keys left out. Its objects are protobufs; it is not imported here."""

from typing import Any

from wa_sessions.health.classify import Cause, Encryption, encryption_of, message_cause
from wa_sessions.plain_text import REPLACEMENT, plain_id
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.message import IncomingMessage

_SILENT = {"senderKeyDistributionMessage", "messageContextInfo", "protocolMessage"}
_KEYS = ("senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage", "groupRootKeyShare")
_KEYS_IN_PROTOCOL_MESSAGE = ("appStateSyncKeyShare", "sharedDeviceContactHashKeyShare")
_SEPARATORS = "@: "


def is_key_distribution(message: Any) -> bool:
    """Whether this is a sender key and nothing else: no message that anybody wrote."""
    return {field.name for field, _ in message.ListFields()} == {"senderKeyDistributionMessage"}


def is_for_handlers(message: Any) -> bool:
    """Whether a person wrote something. App-state keys come as a ``protocolMessage``, which nobody gets to see."""
    return not {field.name for field, _ in message.ListFields()} <= _SILENT


def incoming(event: Any) -> IncomingMessage:
    """A message for handlers. ``raw`` has no key material, ``text`` no NUL, which Postgres refuses."""
    message, source = event.Message, event.Info.MessageSource
    kind = next(field.name for field, _ in message.ListFields() if field.name not in _SILENT)
    body = getattr(message, kind)
    text = body if isinstance(body, str) else getattr(body, "text", "") or getattr(body, "caption", "")
    return IncomingMessage(
        id=plain_id(event.Info.ID),
        chat=jid_text(source.Chat),
        sender=jid_text(source.Sender),
        sender_alt=jid_text(source.SenderAlt) if source.SenderAlt.User else None,
        from_me=source.IsFromMe,
        is_group=source.IsGroup,
        timestamp=event.Info.Timestamp // 1000,
        kind=kind,
        text=text.replace("\0", REPLACEMENT) if isinstance(text, str) else "",
        raw=_without_keys(message).SerializeToString(),
    )


def jid_text(jid: Any) -> str:
    """A JID as text. Whoever makes a user part with ``@`` or ``:`` in it does not pass for another."""
    device = f":{jid.Device}" if jid.Device else ""
    return f"{plain_id(jid.User, without=_SEPARATORS)}{device}@{plain_id(jid.Server, without=_SEPARATORS)}"


def source_string(source: Any) -> str:
    """Who wrote, and where, exactly as whatsmeow's ``MessageSource.SourceString`` writes it into log lines."""
    sender, chat = _as_whatsmeow(source.Sender), _as_whatsmeow(source.Chat)
    return chat if sender == chat else f"{sender} in {chat}"


def has_sender_keys(source: Any, encryption: Encryption) -> bool:
    """Whether it is a sender key that did not fit: in a group, or with a post of a status (``IsGroup`` has more)."""
    return bool(source.IsGroup) and (source.Chat.Server == "g.us" or encryption is Encryption.SENDER_KEY_MESSAGE)


def reason_name(event: Any) -> str:
    """WhatsApp's code by neonize's name; the number where that has none."""
    names = event.DESCRIPTOR.fields_by_name["Reason"].enum_type.values_by_number
    return str(names[event.Reason].name if event.Reason in names else event.Reason)


def _as_whatsmeow(jid: Any) -> str:
    """``JID.String`` of whatsmeow's types/jid.go."""
    if not jid.Server:
        return ""
    if jid.RawAgent:
        return f"{jid.User}.{jid.RawAgent}:{jid.Device}@{jid.Server}"
    if jid.Device:
        return f"{jid.User}:{jid.Device}@{jid.Server}"
    return f"{jid.User}@{jid.Server}" if jid.User else str(jid.Server)


def _without_keys(message: Any) -> Any:
    kept = type(message)()
    kept.CopyFrom(message)
    for part in (kept, kept.deviceSentMessage.message) if kept.HasField("deviceSentMessage") else (kept,):
        for name in _KEYS:
            part.ClearField(name)
        if part.HasField("protocolMessage"):
            for name in _KEYS_IN_PROTOCOL_MESSAGE:
                part.protocolMessage.ClearField(name)
    return kept


def undecrypted(client: int, event: Any, why: str | None) -> protocol.Undecrypted:
    """A copy that did not decrypt; ``why`` are whatsmeow's own words, if there were any."""
    source = event.Info.MessageSource
    encryption = Encryption.UNKNOWN if why is None else encryption_of(why)
    return protocol.Undecrypted(
        client,
        message_id=plain_id(event.Info.ID),
        sender=jid_text(source.Sender),
        chat=jid_text(source.Chat),
        is_group=has_sender_keys(source, encryption),
        cause=Cause.OTHER if why is None else message_cause(why),
        encryption=encryption,
    )
