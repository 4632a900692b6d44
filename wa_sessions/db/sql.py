"""Reads ``queries/<subject>.sql``: blocks that start with ``-- name: <block>``."""

import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import LiteralString, cast

from psycopg.sql import SQL

_FOLDER = Path(__file__).with_name("queries")
_BLOCK = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


class Queries(SimpleNamespace):
    """The blocks of one file, each an attribute that psycopg can execute or format."""

    def __getattr__(self, block: str) -> SQL:
        raise AttributeError(f"no query is named {block}")


@cache
def queries(subject: str) -> Queries:
    """All blocks of one subject."""
    text = (_FOLDER / f"{subject}.sql").read_text(encoding="utf-8")
    return Queries(**{name: SQL(cast("LiteralString", body.strip())) for name, body in _BLOCK.findall(text)})
