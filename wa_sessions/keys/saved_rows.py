"""Rows of a backup as the two stores have them: JSON text becomes values again, bytes and all."""

import json
import re
from typing import Any, Final

from wa_sessions.keys.backup_format import SavedRow
from wa_sessions.keys.baileys.rows import Row
from wa_sessions.keys.fields import BadKey, Json

_BYTES: Final = re.compile(r"\\x(?:[0-9a-f]{2})*")
"""A ``bytea`` as Postgres writes it into JSON."""

_NAMES: Final = frozenset({"push_name", "business_name"})
"""Columns of whatsmeow's device in which people write what they like."""


def auth_row(saved: SavedRow, *, binary: bool) -> Row:
    """An auth key of the Node backend; ``binary``: its table has ``bytea`` values. Raises BadKey."""
    match _object(saved):
        case {"key": str(key), "value": str(value), "type": str(kind)}:
            return Row(key, _value(value) if binary else value, kind)
        case _:
            raise BadKey(saved.table, "a row of the file is no auth key")


def store_row(saved: SavedRow) -> Json:
    """A row of whatsmeow's store. Raises BadKey."""
    return {name: value if name in _NAMES else _value(value) for name, value in _object(saved).items()}


def of_organization(saved: SavedRow, organization_id: int) -> SavedRow:
    """The row of an auth key as one of another organization. Raises BadKey."""
    row = _object(saved) | {"organizationId": organization_id}
    return SavedRow(saved.table, json.dumps(row, ensure_ascii=False).encode())


def _object(saved: SavedRow) -> Json:
    try:
        found = json.loads(saved.row)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadKey(saved.table, "a row of the file cannot be read")
    return found


def _value(value: Any) -> Any:
    return bytes.fromhex(value[2:]) if isinstance(value, str) and _BYTES.fullmatch(value) else value
