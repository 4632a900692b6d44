"""The end of other processes of this machine, known as it happens."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable

from wa_sessions.process_identity import ProcessIdentity


class ProcessWatch:
    """Calls ``ended`` when one of the processes that are followed has ended. To be used on one event loop."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._descriptors: dict[ProcessIdentity, int] = {}

    def follow(self, processes: Iterable[ProcessIdentity]) -> None:
        """Follow these, and none besides; one that is not of this machine, or has ended already, is left out."""
        wanted = set(processes)
        for known in self._descriptors.keys() - wanted:
            self._drop(known)
        for new in wanted - self._descriptors.keys():
            self._open(new)

    def close(self) -> None:
        """Follow none any more."""
        self.follow(())

    def _open(self, process: ProcessIdentity) -> None:
        if not process.is_here():
            return
        with contextlib.suppress(OSError):  # it has ended, or the kernel is older than 5.3
            descriptor = os.pidfd_open(process.pid)
            if process.is_gone():  # what has its number now is another one
                os.close(descriptor)
                return
            self._descriptors[process] = descriptor
            asyncio.get_running_loop().add_reader(descriptor, self._end, process)

    def _end(self, process: ProcessIdentity) -> None:
        self._drop(process)
        self._ended()

    def _drop(self, process: ProcessIdentity) -> None:
        descriptor = self._descriptors.pop(process)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
