"""The least that keeps messages in a database: bare neonize, and another process which inserts and deletes them.

``piped_neonize.py <database url> <store url> <JID>…``, beside ``bare_neonize.py``. What comes meanwhile shares a
commit; a message is noted when it is safe, and deleted in the next transaction. No order of chats, no handler's
process, no answer to neonize: nothing that keeps messages so can cost less.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading

import arrivals
import psycopg

INSERTING = "--inserting"
TABLE = "CREATE TABLE IF NOT EXISTS piped (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL)"
INSERT = "INSERT INTO piped (text) SELECT unnest(%s::text[]) RETURNING id"
DELETE = "DELETE FROM piped WHERE id = ANY(%s)"
BITE = 1 << 16


def insert(url: str) -> None:
    """Keep what comes on stdin, line by line, note it, let it go."""
    handled: list[int] = []
    rest = b""
    with psycopg.connect(url) as conn:
        conn.execute(TABLE)
        conn.commit()
        while True:
            texts: list[str] = []
            if not handled or select.select([0], [], [], 0)[0]:
                data = os.read(0, BITE)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                texts = [json.loads(line) for line in lines]
            if handled:
                conn.execute(DELETE, (handled,))
            handled = [id_ for (id_,) in conn.execute(INSERT, (texts,))] if texts else []
            conn.commit()
            for text in texts:
                arrivals.write(text)


def main() -> None:
    if sys.argv[1] == INSERTING:
        insert(sys.argv[2])
        return
    from bare_neonize import start

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libsignal prints to it
    url, store, *devices = sys.argv[1:]
    inserting = subprocess.Popen([sys.executable, __file__, INSERTING, url], stdin=subprocess.PIPE, bufsize=0)
    assert inserting.stdin
    pipe = inserting.stdin.fileno()
    for device in devices:
        start(store, device, lambda text: os.write(pipe, json.dumps(text).encode() + b"\n"))
    threading.Event().wait()


if __name__ == "__main__":
    main()
