"""The console blocks of a page: their commands are run, and have to print what stands there."""

import difflib
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.waiting import Record

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
PATIENCE = 60.0  # seconds for a command, or for a line of a log
PROMPT = b"[y/N] "
LEFT_OUT = "…"
_PROGRESS = re.compile(
    r"\x1b\[\?25l.*?\x1b\[\?25h(?:\r|\x1b\[1A|\x1b\[2K)*", re.DOTALL
)  # a bar, which goes when all is done
_FENCED = re.compile(r"^( *)```console\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)

_CHANGES: dict[str, tuple[str, str]] = {
    "operation": (r"\bop-\d{8}-[0-9a-z]{6}\b", r"op-\d{8}-[0-9a-z]{6}"),
    "message": (r"\b3EB0[0-9A-F]{18}\b", r"3EB0[0-9A-F]+"),
    "age_key": (r"\bage1[0-9a-z]{20,}\b", r"age1[0-9a-z]+"),
    "worker": (r"\bmsg\d/\d+\b", r"[\w.-]+/\d+"),
    "actor": (r"\b\w+@msg\d\b", r"[\w.-]+@[\w.-]+"),
    "stamp": (r"\b\d{4}-\d\d-\d\dT[\d:.]+Z", r"\d{4}-\d\d-\d\dT[\d:.]+Z"),
    "moment": (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"),
    "clock": (r"\b\d\d:\d\d:\d\d\b", r"\d\d:\d\d:\d\d"),
    "day": (r"\b\w+day \d+ \w+ \d{4}\b", r"\w+day \d+ \w+ \d{4}"),
    "cell": (r"\b\d+(?= +\d+ s ago$)", r"\d+"),  # how many keys a phone has
    "keys": (
        r"\b\d+(?= (?:app-state )?keys?\b)|(?<=keys \()\d+|^ +\d+(?=  [a-z-]+$)| \d+(?= went| would go| left$)",
        r" *\d+",
    ),
    "seconds": (r"(?<=\"seconds\": )[\d.]+", r"[\d.e-]+"),
    "connections": (r"(?<=has )\d+(?= left of)|\b\d+(?= used by others)", r"\d+"),
    "time": (
        r"\bjust now\b|\b\d+(?:\.\d+)? (?:s|min|h)\b(?: ago)?",
        r"(?:just now|\d+(?:\.\d+)? (?:s|min|h)(?: ago)?)",
    ),
    "device": (r"(?<=:)\d+(?=@)", r"\d+"),
    "process": (r"(?<=session host )\d+", r"\d+"),
    "version": (r"\b\d+\.\d+\.\d+\b", r"\d+\.\d+\.\d+"),
}
"""What is another at each run: as it stands on a page, and as it may be printed."""

_LEARNT = frozenset({"operation", "message", "age_key", "worker"})
"""Of these a page's own stands for the one that was printed in its place, in all that follows."""


@dataclass(frozen=True)
class Block:
    """A console block: commands with what they print, or lines of a worker's log."""

    line: int
    text: str

    @property
    def steps(self) -> Iterator[tuple[str, list[str]]]:
        """Each command, and the lines below it."""
        command, lines = "", list[str]()
        for line in self.text.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, lines
                command, lines = line.removeprefix("$ "), []
            else:
                lines.append(line)
        yield command, lines


def blocks(path: Path) -> list[Block]:
    """The console blocks of a page."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, found.start()) + 1, re.sub(rf"^{found[1]}", "", found[2], flags=re.MULTILINE))
        for found in _FENCED.finditer(text)
    ]


class Running:
    """A command that goes on, at a terminal of its own; what it shows is read as it comes."""

    def __init__(self, command: str, environment: Mapping[str, str], folder: Path) -> None:
        self.lines = Record[str]()
        self.at = 0
        self._ours, theirs = _terminal()
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], env=environment, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def shows(self, line: re.Pattern[str]) -> re.Match[str]:
        """Wait for the next line that is like this."""
        shown = self.lines.wait(lambda shown: line.fullmatch(shown) is not None, since=self.at, timeout=PATIENCE)
        self.at += self.lines.since(self.at).index(shown) + 1
        found = line.fullmatch(shown)
        assert found
        return found

    def says(self, words: str) -> None:
        """Wait for the next line with these words."""
        self.shows(re.compile(f".*{re.escape(words)}.*"))

    def close(self) -> None:
        """Ctrl-C, until it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)

    def _read(self) -> None:
        rest = b""
        while part := _part(self._ours):
            *whole, rest = (rest + part).split(b"\n")
            for line in whole:
                self.lines.add(line.decode().rstrip("\r"))
        os.close(self._ours)


class Page:
    """A page and what its blocks have told so far. ``environment`` and ``folder``: where its commands are run.

    ``real``: what stands for a page's own names and ids; ``untold``: how a line begins of which it says that it is left
    out.
    """

    def __init__(self, name: str, environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.left = blocks(ROOT / name)
        self.environment = {**environment, "PATH": f"{PROGRAMS}{os.pathsep}{environment['PATH']}", "NO_COLOR": "1"}
        self.folder = folder
        self.real: dict[str, str] = {}
        self.untold = ""
        self.wrong: list[str] = []

    def run(self, containing: str, *, terminal: bool = True) -> None:
        """Run the commands of the first block that is left and contains that."""
        for command, lines in self._take(containing).steps:
            if command.startswith("export "):
                self.environment |= dict(word.split("=", 1) for word in shlex.split(command)[1:])
                assert not lines
            else:
                answers = [line.partition(PROMPT.decode())[2] for line in lines if PROMPT.decode() in line]
                shown = self.shown(command, answers, terminal=terminal)
                self._compare(command, lines, shown)

    def start(self, containing: str) -> Running:
        """Start the command of a block that goes on, and see that it shows the lines in their order."""
        [(command, lines)] = self._take(containing).steps
        running = Running(command, self.environment, self.folder)
        self._log(lines, running)
        return running

    def log(self, containing: str, running: Running) -> None:
        """The lines of the block are shown by what runs, in their order."""
        [(command, lines)] = self._take(containing).steps
        assert not command
        self._log(lines, running)

    def leave_out(self, containing: str, why: str) -> None:
        """This block is not run."""
        assert why
        self._take(containing)

    def end(self) -> None:
        """All blocks were run, or left out, and printed what stands on the page."""
        assert not self.wrong, "\n\n".join(self.wrong)
        assert not self.left, f"{self.name}: nothing runs {[block.line for block in self.left]}"

    def shown(self, command: str, answers: list[str] | None = None, *, terminal: bool = True) -> str:
        """What a command shows."""
        for ours, real in self.real.items():
            command = command.replace(ours, real)
        if terminal:
            return _at_terminal(command, self.environment, self.folder, answers or [])
        done = subprocess.run(
            ["bash", "-c", command],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )
        return done.stdout

    def _take(self, containing: str) -> Block:
        found = next((block for block in self.left if containing in block.text), None)
        assert found, f"{self.name} has no block with {containing!r} that is left"
        self.left.remove(found)
        return found

    def _log(self, lines: list[str], running: Running) -> None:
        for line in lines:
            pattern, learns = self._pattern(line)
            self._learn(learns, running.shows(re.compile(pattern)).groups())

    def _compare(self, command: str, lines: list[str], shown: str) -> None:
        parts, learns = list[str](), list[str]()
        for line in lines:
            pattern, more = self._pattern(line)
            parts.append(r"(?:.*\n)*?" if line == LEFT_OUT else pattern + r"\n")
            learns += more
        if self.untold and not any(line.startswith(self.untold) for line in lines):
            shown = re.sub(rf"^{re.escape(self.untold)}.*\n", "", shown, flags=re.MULTILINE)
        found = re.fullmatch("".join(parts), shown)
        if found is not None:
            self._learn(learns, found.groups())
            return
        differs = difflib.unified_diff(lines, shown.splitlines(), f"{self.name}: {command}", "shown", lineterm="")
        self.wrong.append("\n".join(differs))
        operation = _CHANGES["operation"][1]  # what comes later goes on with it
        self._learn(re.findall(operation, "\n".join(lines)), re.findall(operation, shown))

    def _learn(self, learns: Sequence[str], printed: Sequence[str]) -> None:
        for ours, real in zip(learns, printed, strict=False):
            assert self.real.setdefault(ours, real) == real

    def _pattern(self, line: str) -> tuple[str, list[str]]:
        """What a line may look like, and what of it is learnt from each of its groups."""
        kinds = {"known": "|".join(map(re.escape, self.real))} if self.real else {}
        kinds |= {kind: ours for kind, (ours, _) in _CHANGES.items()}
        pattern, at, learns = "", 0, list[str]()
        for found in re.finditer("|".join(f"(?P<{kind}>{ours})" for kind, ours in kinds.items()), line):
            pattern += _literal(line[at : found.start()])
            at = found.end()
            if found.lastgroup == "known":
                pattern += re.escape(self.real[found[0]])
                continue
            printed = _CHANGES[found.lastgroup or ""][1]
            is_learnt = found.lastgroup in _LEARNT
            pattern += f"({printed})" if is_learnt else printed
            learns += [found[0]] if is_learnt else []
        rest = line[at:]
        ending = r".*" if rest.endswith(LEFT_OUT) else ""
        return pattern + _literal(rest.removesuffix(LEFT_OUT)) + ending, learns


def _literal(text: str) -> str:
    """Columns are as wide as what stands in them, so that there may be more spaces or fewer."""
    return re.sub(r"(?:\\ )+", " +", re.escape(text))


def _terminal() -> tuple[int, int]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    return ours, theirs


def _at_terminal(command: str, environment: Mapping[str, str], folder: Path, answers: list[str]) -> str:
    """What is shown at a terminal where each question is answered as it comes."""
    ours, theirs = _terminal()
    process = subprocess.Popen(
        ["bash", "-c", command], env=environment, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown, answers = b"", list(answers)
    try:
        while process.poll() is None or select.select([ours], [], [], 0)[0]:
            if not select.select([ours], [], [], 0.1)[0]:
                continue
            if not (part := _part(ours)):
                break
            shown += part
            if answers and shown.endswith(PROMPT):
                os.write(ours, answers.pop(0).encode() + b"\n")
        process.wait(PATIENCE)
    finally:
        os.close(ours)
    return _PROGRESS.sub("", shown.decode()).replace("\r\n", "\n")


def _part(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when the other side is closed
        return b""
