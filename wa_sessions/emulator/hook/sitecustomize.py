"""Lets a neonize client trust the emulator's Noise root instead of WhatsApp's.

It works only where somebody has put this folder on PYTHONPATH and set WA_SESSIONS_EMULATOR_NOISE_ROOT: then the
32 bytes of whatsmeow's ``WACertPubKey`` are overwritten in memory, when ctypes loads neonize's library. No file
changes. A ``sitecustomize`` of the machine's own, which this one hides, is run as well.
"""  # noqa: INP001

import ctypes
import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

VARIABLE = "WA_SESSIONS_EMULATOR_NOISE_ROOT"
WHATSAPP_ROOT = bytes.fromhex("142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b")
LIBRARY_PREFIX = "neonize-linux-"


def _writable_places(library: str, offset: int) -> list[int]:
    """Where this offset of a mapped file stands in writable memory."""
    places = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] == library and "w" in fields[1]:
            low, high = (int(part, 16) for part in fields[0].split("-"))
            place = low + offset - int(fields[2], 16)
            if low <= place < high:
                places.append(place)
    return places


def _swap_root(library: str, root: bytes) -> None:
    offset = Path(library).read_bytes().find(WHATSAPP_ROOT)
    places = [at for at in _writable_places(library, offset) if ctypes.string_at(at, 32) == WHATSAPP_ROOT]
    if offset < 0 or not places:
        raise ImportError(f"{VARIABLE} is set, but {library} keeps no Noise root that could be swapped")
    for place in places:
        ctypes.memmove(place, root, 32)


def _install(root: bytes) -> None:
    load = ctypes.CDLL.__init__
    swapped: set[str] = set()

    def load_and_swap(self: ctypes.CDLL, name: Any, *args: Any, **options: Any) -> None:
        load(self, name, *args, **options)
        if name and Path(str(name)).name.startswith(LIBRARY_PREFIX):
            library = str(Path(str(name)).resolve())
            if library not in swapped:
                _swap_root(library, root)
                swapped.add(library)

    ctypes.CDLL.__init__ = load_and_swap  # type: ignore[method-assign]


def _run_hidden() -> None:
    """The ``sitecustomize`` that Python would have found without this folder."""
    here = Path(__file__).resolve().parent
    path = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if os.environ.get(VARIABLE):
    _install(bytes.fromhex(os.environ[VARIABLE]))
_run_hidden()
