"""``subprocess`` for tests: our own programs are forked from one that is warm (``support.nursery``), not started cold.

What is held by a cold start, as imports, the file descriptors and variables of a fresh process, is tested with
``subprocess`` itself.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, CompletedProcess, TimeoutExpired
from typing import Any, AnyStr

from support.nursery import LONGEST
from support.waiting import PATIENCE

__all__ = ["DEVNULL", "PIPE", "STDOUT", "CompletedProcess", "Popen", "TimeoutExpired", "end", "run"]

_HERE = Path(__file__).parent
_PROGRAM = str(Path(sys.executable).with_name("wa-sessions"))
_KNOWN = {
    (_PROGRAM,): "program",
    (sys.executable, "-m", "wa_sessions"): "module",
    (sys.executable, "-P", "-m", "wa_sessions.worker.hosts.main"): "host",
    (sys.executable, str(_HERE.parent / "standin.py")): "script",
}
_ROOM = {f"WA_TEST_ROOM_{number}": "" for number in range(150)}
_PR_SET_CHILD_SUBREAPER = 36

ask: socket.socket | None = None
"""Whom to ask; the first to do so starts it."""
_nursery: "subprocess.Popen[bytes] | None" = None
_one_at_a_time = threading.Lock()


class Popen(subprocess.Popen[AnyStr]):
    """A process that is started warm where that can be, else as ever."""

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, *how: Any) -> None:
        words = [os.fsdecode(word) for word in args] if isinstance(args, Sequence) else []
        kind = next((kind for start, kind in _KNOWN.items() if words[: len(start)] == list(start)), None)
        if kind is None or executable or preexec_fn:
            super()._execute_child(args, executable, preexec_fn, *how)  # type: ignore[misc]
            return
        _, passed, folder, variables, _, _, _, stdin, p2cwrite, c2pread, stdout, errread, stderr, *_ = how
        files = [(stdin, 0), (stdout, 1), (stderr, 2)]
        request = {
            "kind": kind,
            "arguments": words,
            "variables": dict(os.environ if variables is None else variables),
            "folder": os.fspath(folder or Path.cwd()),
            "session": bool(how[18]),
            "files": [number for _, number in files] + list(passed),
        }
        self.pid = _born(request, [number if file == -1 else file for file, number in files] + list(passed))
        self._child_created = True
        self._close_pipe_fds(stdin, p2cwrite, c2pread, stdout, errread, stderr)  # type: ignore[attr-defined]


def run(
    arguments: Sequence[str | bytes | os.PathLike[str]],
    *,
    input: Any = None,  # noqa: A002  # as ``subprocess`` has it
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **how: Any,
) -> CompletedProcess[Any]:
    """``subprocess.run``."""
    if input is not None:
        how["stdin"] = PIPE
    if capture_output:
        how |= {"stdout": PIPE, "stderr": PIPE}
    with Popen(arguments, **how) as process:
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    done = CompletedProcess(arguments, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def end() -> None:
    """End the nursery, if there is one; the programs go on."""
    global ask, _nursery
    if _nursery and ask:
        ask.close()
        _nursery.wait(PATIENCE)
        ask = _nursery = None


def _born(request: dict[str, Any], files: list[int]) -> int:
    """The pid of a new child of this process."""
    libc = ctypes.CDLL(None)
    with _one_at_a_time:
        asked = ask or _begin()
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)  # it is forked twice, and given to us
        try:
            socket.send_fds(asked, [json.dumps(request).encode()], files)
            answer = asked.recv(LONGEST)
        finally:
            libc.prctl(_PR_SET_CHILD_SUBREAPER, 0)
    assert answer, "the nursery has ended"
    return int(answer)


def _begin() -> socket.socket:
    global ask, _nursery
    ask, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with theirs:
        _nursery = subprocess.Popen(
            [sys.executable, "-P", str(_HERE / "nursery.py"), str(theirs.fileno()), " " * 4096],
            env=keep | {"LC_ALL": "C.UTF-8"} | _ROOM,
            stdin=DEVNULL,
            pass_fds=(theirs.fileno(),),
        )
    return ask
