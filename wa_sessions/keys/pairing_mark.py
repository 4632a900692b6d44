"""Which pairing the auth keys of a Node backend belong to."""

import base64
import contextlib
import hashlib
import json
from typing import Any


def pairing_mark(creds: str | bytes) -> str | None:
    """16 hex digits that stay for as long as a device stays linked, from the public halves of two keys in ``creds``.

    ``creds`` is the value of that row, as Baileys' ``initAuthCreds`` made it: base64 of JSON, or JSON itself. None
    where it cannot be read, and for a device that no phone has linked yet (it has no ``me``).
    """
    match _object(creds):
        case {"me": {"id": str(_)}, "noiseKey": {"public": noise}, "signedIdentityKey": {"public": identity}}:
            halves = [_bytes(noise), _bytes(identity)]
            return hashlib.sha256(b"".join(h for h in halves if h)).hexdigest()[:16] if all(halves) else None
        case _:
            return None


def plain_text(value: str | bytes) -> str | None:
    """A row's value that is one JSON string, as in ``lid-mapping-…``; None for anything else."""
    found = _object(value)
    return found if isinstance(found, str) else None


def _object(value: str | bytes) -> Any:
    data = value.encode() if isinstance(value, str) else value
    with contextlib.suppress(ValueError):
        data = base64.b64decode(data, validate=True)
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _bytes(value: Any) -> bytes | None:
    """A Buffer as Baileys' BufferJSON writes it."""
    match value:
        case {"data": str(text)}:
            try:
                return base64.b64decode(text, validate=True)
            except ValueError:
                return None
        case {"data": [*numbers]} if all(isinstance(n, int) and 0 <= n < 256 for n in numbers):
            return bytes(numbers)
        case _:
            return None
