"""How what is posted is signed, so that its receiver knows who has sent it: a message, or an alert."""

import hashlib
import hmac

SIGNATURE_HEADER = "X-WA-Sessions-Signature"
TIMESTAMP_HEADER = "X-WA-Sessions-Timestamp"


def signature(secret: str, timestamp: str, content: bytes) -> str:
    """HMAC-SHA256 over ``<timestamp>.<body>``."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + content, hashlib.sha256)
    return f"sha256={digest.hexdigest()}"


def signed(secret: str, timestamp: str, content: bytes) -> dict[str, str]:
    """The headers that go with it: when it was sent, in seconds since 1970, and its signature."""
    return {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: signature(secret, timestamp, content)}
