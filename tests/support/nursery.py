"""A process that programs are forked from: it has imported what they need, so a start takes hundredths of a second.

Run as ``python -P nursery.py <socket>`` by ``support.warm``, which says what is to be started. A program is a process
of its own with the files, variables and arguments that were asked for, and a child of whoever asked. It has no threads,
and nothing of neonize that is Go: that does not survive a fork.
"""

import atexit
import ctypes
import gc
import importlib
import importlib.util
import json
import os
import runpy
import signal
import socket
import sys
import threading
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

LONGEST = 1 << 18
MOST_FILES = 64
Program = Callable[[], object]

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_NEONIZE_NEEDS = ("pylibmagic", "magic", "PIL.Image", "bs4", "google.protobuf", "httpx", "linkpreview", "phonenumbers")
"""Where the machine has no libmagic, ``magic`` finds the one that the import before it brings."""
_OF_NEONIZE = ("const", "exc", "proto.Neonize_pb2", "proto.waE2E.WAWebProtobufsE2E_pb2", "types")
_OURS = ("actions", "cli", "db", "health", "keys", "logs", "worker")
_PATH, _LOAD = list(sys.path), ctypes.CDLL.__init__
_GO = "wa_sessions.worker.hosts.neonize"
_MODULE = Path(__file__).parents[2] / "wa_sessions" / "__main__.py"


class Room:
    """Where the kernel and Go look for arguments and variables: as they were at the start, if nobody writes there."""

    def __init__(self) -> None:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        self._arguments, end = int(fields[45]), int(fields[46])
        self._length = end - self._arguments
        first = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ").value
        assert first
        self._variables = (ctypes.c_void_p * len(os.environ)).from_address(first)
        self._kept: list[ctypes.Array[ctypes.c_char]] = []

    def put(self, arguments: list[str], variables: dict[str, str]) -> None:
        line = b"\0".join(map(os.fsencode, arguments))[: self._length - 1]
        ctypes.memmove(self._arguments, line.ljust(self._length, b"\0"), self._length)
        ctypes.CDLL(None).prctl(_PR_SET_NAME, os.fsencode(Path(arguments[0]).name[:15]))
        texts = [os.fsencode(f"{name}={value}") for name, value in variables.items()]
        assert len(texts) <= len(self._variables), "start the nursery with more variables"
        texts += [b"_="] * (len(self._variables) - len(texts))
        self._kept = [ctypes.create_string_buffer(text) for text in texts]
        self._variables[:] = [ctypes.addressof(text) for text in self._kept]
        os.environ.clear()
        os.environ.update(variables)


def load() -> None:
    """Import all that the programs do, but for what loads Go."""
    import wa_sessions

    for folder in _OURS:
        for file in sorted((Path(wa_sessions.__file__).parent / folder).rglob("*.py")):
            name = ".".join(file.relative_to(Path(wa_sessions.__file__).parents[1]).with_suffix("").parts)
            if name != _GO and "top" not in file.parts:
                importlib.import_module(name.removesuffix(".__init__"))
    for name in _NEONIZE_NEEDS:
        importlib.import_module(name)
    found = importlib.util.find_spec("neonize")
    assert found
    package = types.ModuleType("neonize")
    package.__path__ = list(found.submodule_search_locations or ())
    sys.modules["neonize"] = package  # which itself loads Go
    for name in _OF_NEONIZE:
        importlib.import_module(f"neonize.{name}")
    del sys.modules["neonize"]
    sys.path.append(str(Path(__file__).parents[1]))
    importlib.import_module("support.warm")
    assert "neonize._binder" not in sys.modules
    assert len(list(Path("/proc/self/task").iterdir())) == 1


def serve(asked: socket.socket, room: Room) -> Program:
    """Start what is asked for; returns in each program that was started, with what it has to do."""
    while True:
        text, files, _, _ = socket.recv_fds(asked, LONGEST, MOST_FILES)
        if not text:
            os._exit(0)
        request = json.loads(text)
        may_begin, begins = os.pipe()
        told, tells = os.pipe()
        if (between := os.fork()) == 0:
            if child := os.fork():
                os.write(tells, str(child).encode())
                os._exit(0)
            os.close(begins)
            os.read(may_begin, 1)  # at the end of file it has its new parent
            asked.detach()  # else its end closed whatever has its number by then
            return become(request, files, room)
        os.close(may_begin)
        os.waitpid(between, 0)
        os.close(begins)
        asked.send(os.read(told, 32))
        for file in (told, tells, *files):
            os.close(file)


def become(request: dict[str, Any], files: list[int], room: Room) -> Program:
    """Turn this process into the program."""
    if request["session"]:
        os.setsid()
    _take(files, request["files"])
    os.chdir(request["folder"])
    arguments: list[str] = request["arguments"]
    room.put(arguments, request["variables"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.orig_argv[:] = arguments
    sys.path[:] = [*(folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder), *_PATH]
    ctypes.CDLL.__init__ = _LOAD  # type: ignore[method-assign]  # as it was before any ``sitecustomize``
    sys.modules.pop("sitecustomize", None)
    if importlib.util.find_spec("sitecustomize"):
        importlib.import_module("sitecustomize")
    return _program(request["kind"], arguments, room)


def _take(files: list[int], wanted: list[int]) -> None:
    """Have the files under their numbers, and no others."""
    aside = [os.dup2(file, 1000 + number) for number, file in enumerate(files)]
    os.closerange(0, 1000)
    for file, number in zip(aside, wanted, strict=True):
        os.dup2(file, number, inheritable=True)
        os.close(file)


def _program(kind: str, arguments: list[str], room: Room) -> Program:
    if kind == "script":
        sys.argv = arguments[1:]
        return lambda: runpy.run_path(arguments[1], run_name="__main__")
    if kind == "host":
        from wa_sessions.worker.hosts import main as host

        sys.argv = arguments[-2:]
        return host.main
    from wa_sessions import cli

    sys.argv = arguments if kind == "program" else [str(_MODULE), *arguments[3:]]
    if "run" in arguments:
        return _with_hosts(cli.main, room)
    return cli.main


def _with_hosts(program: Program, room: Room) -> Program:
    """A child, forked before there are threads, starts the session hosts that this process asks for."""
    from support import warm

    from wa_sessions.worker.hosts import client

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        ours.close()
        return serve(theirs, room)
    theirs.close()
    warm.ask = ours
    client.subprocess = warm  # type: ignore[attr-defined]
    return program


def main() -> NoReturn:
    room = Room()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load()
    gc.collect()
    gc.freeze()
    _run(serve(socket.socket(fileno=int(sys.argv[1])), room))


def _run(program: Program) -> NoReturn:
    """To its end as Python has it, but that nothing is taken apart: it would copy all memory first."""
    code: object = 0
    try:
        program()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        os._exit(120)
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main()
