"""What identifies the state of a Signal record in whatsmeow's store (JSON with Go's field names)."""

import base64
import binascii
import hashlib
import json
from typing import Any


def session_mark(record: bytes) -> str | None:
    """16 hex digits that stay through every send and receive of a session and change when it is rebuilt.

    They come from the base key of the current state. None where the record cannot be read.
    """
    match _object(record):
        case {"SessionState": {"SenderBaseKey": str(base_key)}}:
            return _mark(_bytes(base_key))
        case _:
            return None


def sender_key_mark(record: bytes) -> str | None:
    """16 hex digits of the newest state of a group sender key: its id and its public signing key. None: unreadable."""
    match _object(record):
        case {"SenderKeyStates": [{"KeyID": int(key_id), "SigningKeyPublic": str(public)}, *_]}:
            signing_key = _bytes(public)
            return _mark(b"%d:" % key_id + signing_key) if signing_key else None
        case _:
            return None


def _object(record: bytes) -> Any:
    try:
        return json.loads(record)
    except (ValueError, RecursionError):
        return None


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None


def _mark(identity: bytes | None) -> str | None:
    return hashlib.sha256(identity).hexdigest()[:16] if identity else None
