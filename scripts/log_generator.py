"""Writes a log of a Node backend of any size, both of its streams in one, made up but with the library's own words.

    .venv/bin/python scripts/log_generator.py /tmp/dense.log --mb 1000 --errors 190
    .venv/bin/python scripts/log_generator.py /tmp/few.log --mb 1000 --errors 1

``--errors`` are counted errors a MB; each stands beside the library's own lines, with their stacks. The rest is what
such a backend writes all day. The same ``--seed`` makes the same log.
"""

from __future__ import annotations

import argparse
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN = 1_795_200_000_000
MB = 1_000_000
PHONES = {1: "77051234567", 2: "77051234568", 3: "77017654321:27", 6: "79161234567:8", 8: "996555123456"}
LIBSIGNAL = "/srv/messenger-backend/node_modules/libsignal/src"
WORDS = ["доставка", "оплата", "розы", "алматы", "завтра", "астана", "цена", "спасибо", "каспи", "букет", "адрес"]


class Backend:
    """A backend that writes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = BEGIN
        self.counters = dict.fromkeys(PHONES, 0)

    def error(self) -> Iterator[str]:
        """One message that does not decrypt, and the backend's counter; at three a close."""
        self.now += self.random.randrange(1, 2000)
        peer = f"7701{self.random.randrange(9990000, 9999999)}"
        message = f"3EB0{self.random.randbytes(9).hex().upper()}"
        yield "Failed to decrypt message with any known session..."
        yield "Session error:Error: Bad MAC Error: Bad MAC"
        yield f"    at Object.verifyMAC ({LIBSIGNAL}/crypto.js:87:15)"
        yield f"    at SessionCipher.doDecryptWhisperMessage ({LIBSIGNAL}/session_cipher.js:250:16)"
        yield f"    at async SessionCipher.decryptWithSessions ({LIBSIGNAL}/session_cipher.js:147:29)"
        frame = f"    at async {peer}.0 [as awaitable] ({LIBSIGNAL}/session_cipher.js:171:28)"
        yield frame
        yield f"    at async _asyncQueueExecutor ({LIBSIGNAL}/queue_job.js:20:29)"
        text = "No matching sessions found for message"
        error = {
            "type": "SessionError",
            "message": text,
            "stack": f"SessionError: {text}\n{frame}",
            "name": "SessionError",
        }
        key = {"remoteJid": f"{peer}@s.whatsapp.net", "fromMe": False, "id": message}
        yield self.pino(50, key=key, err=error, msg="failed to decrypt message")
        yield from self.counted()

    def counted(self) -> Iterator[str]:
        phone = self.random.choice(list(PHONES))
        jid = f"{PHONES[phone]}@s.whatsapp.net"
        self.counters[phone] += 1
        line = f"⚠️ Bad MAC error #{self.counters[phone]} для {jid}"
        yield line if self.random.random() < 0.6 else self.pino(40, msg=line)
        if self.counters[phone] == 3:
            self.counters[phone] = 0
            yield f"🚪 Закрытие сессии для {jid}. Причина: Слишком много ошибок Bad MAC"
            yield f"🔄 Счетчики ошибок сброшены для organizationPhoneId: {phone}"

    def chatter(self) -> str:
        """What has nothing to do with errors."""
        self.now += self.random.randrange(1, 200)
        peer = f"7701999{self.random.randrange(10000):04}@s.whatsapp.net"
        match self.random.randrange(6):
            case 0:
                return "POST /api/organizations/2/messages 200 442ms"
            case 1:
                return f"✅ Сообщение отправлено: {PHONES[1]}@s.whatsapp.net -> {peer}"
            case 2:
                return '[Prisma] Query 37ms: SELECT "value" FROM "BaileysAuth" WHERE ("phoneJid" = $1 AND "key" = $2)'
            case _:
                text = " ".join(self.random.choices(WORDS, k=self.random.randrange(1, 14)))
                return self.pino(30, organizationPhoneId=3, remoteJid=peer, text=text, msg="📩 Новое сообщение")

    def pino(self, level: int, **fields: object) -> str:
        entry = {"level": level, "time": self.now, "pid": 4242, "hostname": "wa-prod-1", **fields}
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))

    def stamp(self) -> str:
        return datetime.fromtimestamp(self.now / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S: ")


def write(path: Path, mb: int, errors: float, seed: int = 7) -> None:
    """A log of so many MB, with so many counted errors a MB."""
    backend = Backend(seed)
    between = MB / errors if errors else float("inf")
    due, size = between, 0
    with path.open("wb") as file:
        while size < mb * MB:
            lines: list[str] = []
            if size >= due:
                due += between
                lines += backend.error()
            lines.append(backend.chatter())
            stamp = backend.stamp()
            block = "".join(f"{stamp}{line}\n" for text in lines for line in [text]).encode()
            size += file.write(block)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--errors", type=float, default=190)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    write(options.file, options.mb, options.errors, options.seed)


if __name__ == "__main__":
    main()
