"""Logs of a Node backend with the real library's lines, and what is known to have happened (``tests/data/logs``)."""

import gzip
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "data" / "logs"
FILES = [str(FOLDER / f"messenger-backend-{stream}.log.gz") for stream in ("error", "out")]
TRUTH: dict[str, Any] = json.loads((FOLDER / "truth.json").read_text(encoding="utf-8"))
NUMBERS: dict[int, str] = {phone["organizationPhoneId"]: number for number, phone in TRUTH["phones"].items()}
INCIDENTS: dict[str, int] = TRUTH["lib_incidents"]
LIBRARY = {
    "bad_mac": INCIDENTS["bad_mac_msg"] + INCIDENTS["bad_mac_multi"] + INCIDENTS["bad_mac_pkmsg"],
    "bad_decrypt": sum(INCIDENTS[f"app_{name}"] for name in ("bad_decrypt", "hmac", "lthash", "patch_mac")),
    "missing_key": INCIDENTS["app_missing_key"],
    "duplicate": INCIDENTS["replay_msg"] + INCIDENTS["replay_pkmsg"] + INCIDENTS["group_old"],
    "no_session": INCIDENTS["no_session"],
    "invalid_prekey": INCIDENTS["invalid_prekey"],
    "group": INCIDENTS["group_no_key"] + INCIDENTS["group_sig"],
    "other": 0,
}


def content(stream: str) -> bytes:
    """A whole log."""
    return gzip.decompress((FOLDER / f"messenger-backend-{stream}.log.gz").read_bytes())
