"""Real WhatsApp clients in a process of their own, driven by JSON lines (the protocol: ``tests/standin.py``)."""

import itertools
import json
import os
import threading
from pathlib import Path
from typing import Any, Self

from support import warm
from support.waiting import PATIENCE, Record

Line = dict[str, Any]


class Clients:
    """One process with any number of clients."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.folder, self.lines = folder, Record[Line]()
        self._numbers = itertools.count(1)
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with (folder / "clients.log").open("ab") as log:
            self._process = warm.Popen(
                command,
                env=keep | environment,
                stdin=warm.PIPE,
                stdout=warm.PIPE,
                stderr=log,
                cwd=folder,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.lines.wait(lambda line: "ready" in line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # else it was killed as it wrote
                self.lines.add(json.loads(line))

    def kill(self) -> None:
        """End the process with SIGKILL, whatever it does."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def begin(self, do: str, client: str, **more: Any) -> int:
        """Give a command and do not wait; returns its number."""
        number = next(self._numbers)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, "client": client, "n": number, **more}) + "\n")
        self._process.stdin.flush()
        return number

    def answer(self, number: int, timeout: float = PATIENCE) -> Any:
        line = self.lines.wait(lambda line: line.get("n") == number, timeout=timeout)
        if "error" in line:
            raise RuntimeError(line["error"])
        return line["result"]

    def do(self, do: str, client: str, **more: Any) -> Any:
        return self.answer(self.begin(do, client, **more))

    def add(self, client: str, **more: Any) -> None:
        """Start a client: a new one, or one that has been here before."""
        self.do("add", client, **more)

    def send(self, client: str, to: str, text: str, **more: Any) -> str:
        return str(self.do("send", client, to=to, text=text, **more))

    def event(self, client: str, event: str, *, since: int = 0, count: int = 1, timeout: float = PATIENCE) -> Line:
        return self.lines.wait(
            lambda line: line.get("client") == client and line.get("event") == event,
            since=since,
            count=count,
            timeout=timeout,
        )

    def message(self, client: str, text: str, *, since: int = 0, timeout: float = PATIENCE) -> Line:
        return self.lines.wait(
            lambda line: (line.get("client"), line.get("event"), line.get("text")) == (client, "Message", text),
            since=since,
            timeout=timeout,
        )

    def log(self, part: str, *, since: int = 0, timeout: float = PATIENCE) -> Line:
        return self.lines.wait(lambda line: part in line.get("log", ""), since=since, timeout=timeout)

    def count(self, client: str, event: str, *, since: int = 0) -> int:
        return sum(line.get("client") == client and line.get("event") == event for line in self.lines.since(since))

    def texts(self, client: str, *, since: int = 0) -> list[str]:
        """The texts of the messages that arrived, in order."""
        lines = self.lines.since(since)
        return [line["text"] for line in lines if line.get("client") == client and line.get("event") == "Message"]
