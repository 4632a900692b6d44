"""What the emulator takes from the installed neonize: its library's path and its protobuf classes.

neonize itself is never imported here: that would load its Go runtime into this process. Its protobuf modules name
each other from the folder ``neonize/proto``, which is on ``sys.path`` only while they load.
"""

import importlib
import importlib.util
import platform
import sys
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from wa_sessions.emulator.errors import Malformed, UnsupportedPlatform

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def _folder() -> Path:
    spec = importlib.util.find_spec("neonize")
    if spec is None or not spec.submodule_search_locations:
        raise UnsupportedPlatform("neonize is not installed")
    return Path(spec.submodule_search_locations[0])


def library_path() -> Path:
    """neonize's shared library for this machine (its name: ``neonize/utils/platform.py``)."""
    machine = platform.machine().lower()
    if platform.system() != "Linux" or machine not in ARCHITECTURES:
        raise UnsupportedPlatform(f"the emulator needs Linux on x86-64 or aarch64, not {sys.platform} {machine}")
    path = _folder() / f"neonize-linux-{ARCHITECTURES[machine]}.so"
    if not path.is_file():
        raise UnsupportedPlatform(f"the installed neonize has no {path.name}")
    return path


def _load(*modules: str) -> list[Any]:
    folder = str(_folder() / "proto")
    sys.path.insert(0, folder)
    try:
        return [importlib.import_module(module) for module in modules]
    finally:
        sys.path.remove(folder)


def parse(kind: Any, data: bytes) -> Any:
    """A protobuf message of this class, or ``Malformed``."""
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise Malformed(f"not a {kind.__name__}") from error
    return message


adv, cert, e2e, sync, action, wa6 = _load(
    "waAdv.WAAdv_pb2",
    "waCert.WACert_pb2",
    "waE2E.WAWebProtobufsE2E_pb2",
    "waServerSync.WAWebProtobufsServerSync_pb2",
    "waSyncAction.WAWebProtobufSyncAction_pb2",
    "waWa6.WAWebProtobufsWa6_pb2",
)
