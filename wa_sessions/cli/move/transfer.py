"""``export`` and ``import``: a phone moves to another machine as a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.changing import How, because, perform
from wa_sessions.cli.move.adopting import Baileys, MovedView, baileys_version
from wa_sessions.cli.move.backup import (
    Force,
    IdentityFiles,
    NoEncryption,
    RecipientKeys,
    RecipientsFile,
    file_data,
    file_line,
    identities_of,
    readers,
)
from wa_sessions.cli.options import (
    ChangeOptions,
    DatabaseUrl,
    NodeOptions,
    Output,
    PhoneArgument,
    ResultOptions,
    ScopeOptions,
)
from wa_sessions.cli.sessions.run import StoreUrl
from wa_sessions.errors import UsageError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.keys.phone_ref import PhoneRef, parse_phone
from wa_sessions.wording import counted

if TYPE_CHECKING:
    from wa_sessions.actions.connection import Opened
    from wa_sessions.actions.engine.plan import Changed
    from wa_sessions.actions.move.backup import BackedUp, Destination
    from wa_sessions.actions.move.export_phone import ExportedPhone, ExportPlan
    from wa_sessions.actions.move.moving import MovedPhone

_ONE_MACHINE = "a phone may run on one machine only: two with the same keys break its session"


class Format(StrEnum):
    """Whose keys they become."""

    NEONIZE = "neonize"
    BAILEYS = "baileys"


def export(
    phone: PhoneArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to make.")],
    *,
    recipient: RecipientKeys = None,
    recipients_file: RecipientsFile = None,
    no_encryption: NoEncryption = False,
    force: Force = False,
    keep: Annotated[bool, typer.Option("--keep", help="Only write the file: the phone stays here too.")] = False,
    node_options: NodeOptions,
    change: ChangeOptions,
    result: ResultOptions,
    scope: ScopeOptions,
) -> None:
    """Move a phone into an encrypted file, for another machine. There wa-sessions import brings it in.
    \f
    The file is that of `backup` (`restore --file` reads it too): the phone's row and every key of it, in either format,
    encrypted with [age](https://age-encryption.org), read back and compared. Only then do its keys go into quarantine
    here, as one operation, and its status becomes `disconnected`. A worker that runs the phone is asked to end its
    session; the Node process of a `baileys` phone has to be stopped, and must not take it up again. Whenever the
    command is killed, the phone is still here whole, or the file is. Before it has said so, do not import the file.

    The phone's row stays, without keys: `remove` takes it away. `restore` of the operation needs `--overwrite`, as
    nobody here can see whether the file was imported since. With `--keep` nothing changes here: a copy, which may run
    in one place only.

    JSON: `operation`, `phone_id`, `phone`, `organization_id`, `status`, `matched`, `quarantined`, `left`, `by_type`,
    `dry_run`, `undo`, and of the file `file`, `keys`, `bytes`, `encrypted`, `recipients`, `sha256`, `made_at`,
    `verified` (none of these in a dry run). `operation` and `undo` are null with `--keep`.

    Exit: 0, 1 (the file cannot be written, the phone has no keys, no schema, a right is missing), 2, 3, 4, 5 (its Node
    process runs, or it is a phone of the official API), 6.
    """
    output, ref = result.chosen, parse_phone(phone)
    if keep and change.dry_run:
        raise UsageError("--keep changes nothing: leave --dry-run out")
    to_whom = [] if change.dry_run else readers(recipient or [], recipients_file, plain=no_encryption)
    from wa_sessions.actions.engine.plan import Scope
    from wa_sessions.actions.move.backup import Destination, backup
    from wa_sessions.actions.move.export_phone import Export
    from wa_sessions.actions.node_process import ending_raises

    how = How.of(change, result, node_options)
    to = Destination(file, to_whom, no_encryption, force)
    with ending_raises(), terminal.opened(scope.database_url) as opened:
        if keep:
            _show_copy(backup(opened, ref, to, scope.org), output)
            return
        leaving = Export(None if how.dry_run else to, **because(change.reason))
        perform(opened, leaving, Scope(ref, scope.org), how, ExportView(file), within=partial(_saving, to, how))


@contextmanager
def _saving(to: "Destination", how: How, planned: "ExportPlan") -> Iterator[None]:
    with (
        terminal.progress("saving", wanted=not how.dry_run) as to.progress,
        to.explaining(planned.items[0].phone.number),
    ):
        yield


@dataclass(frozen=True, slots=True)
class ExportView:
    """Of a phone that leaves."""

    file: Path

    def question(self, planned: "ExportPlan") -> str:
        """What an operator is asked before it is made."""
        return f"Move {planned.items[0].phone.number} and its {counted(planned.keys, 'key')} into {self.file}?"

    def show(self, changed: "Changed[ExportedPhone]", _planned: "ExportPlan", how: How) -> None:
        """What was done, and what is to be said of it."""
        _show_exported(changed, how.output)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export or backup has made.")],
    *,
    phone: Annotated[
        str | None, typer.Option("--phone", metavar="PHONE", help="Which phone, where the file has several.")
    ] = None,
    identity: IdentityFiles = None,
    as_: Annotated[
        Format | None,
        typer.Option("--as", metavar="neonize|baileys", help="Convert its keys; else they stay as they are."),
    ] = None,
    baileys: Baileys = None,
    store_url: StoreUrl = None,
    node_options: NodeOptions,
    change: ChangeOptions,
    org: Annotated[
        int | None, typer.Option("--org", metavar="N", help="Into this organization; else that of the file.")
    ] = None,
    result: ResultOptions,
    database_url: DatabaseUrl = None,
) -> None:
    """Bring a phone in from another machine's file. The same linked device, without a QR.
    \f
    The phone gets a row if it has none, and its keys, all in one transaction. `--as neonize` makes a Node backend's
    phone our worker's on the way, as `adopt` does, and `--as baileys` the other way round, as `return` does, with what
    those refuse and leave out. A file that is cut, damaged or foreign changes nothing, and a phone whose pairing stands
    here already is refused. What stands there without a pairing goes into quarantine.

    It must not run on the other machine any more: `export` sees to that there, `backup` and `export --keep` do not.
    Neither may a file be imported twice, nor after the phone has run elsewhere since: its keys are old then. Refused is
    what this database knows of that: the phone connected here after the file was made, was exported since, or came in
    with this file or a newer one. A row with a key of another phone or device is refused too. `restore` undoes it while
    nobody has used the keys since; a row that was made stays, without keys.

    JSON: as of `adopt`.

    Exit: 0, 1 (the file cannot be read, a pairing stands here, keys that cannot be converted, no schema), 2 (also:
    several phones and no `--phone`), 3 (it is not in the file), 4, 5 (a connected `baileys` phone, or one of the
    official API), 6.
    """
    keys = identities_of(identity or [])
    from wa_sessions.actions.engine.plan import Scope
    from wa_sessions.actions.move.import_phone import Import, phone_in_file

    how = How.of(change, result, node_options)
    read = phone_in_file(file, keys, parse_phone(phone) if phone is not None else None)
    why, major = because(change.reason), baileys_version(baileys)
    coming = Import(read, as_.value if as_ else None, major, store_url=store_url, **why)
    number, kind = read.saved.phone.number, coming.connection_type
    organization = read.saved.phone.organization_id if org is None else org
    what = f"Import {number} from {file} as a {kind} phone of organization {organization}?"
    view = MovedView(f"{what} It must run nowhere else.".replace("{", "{{").replace("}", "}}"), "imported")
    with terminal.opened(database_url) as opened:
        scope = Scope(PhoneRef(digits=number), org)
        perform(opened, coming, scope, how, view, then=partial(_say_next, opened))


def _show_copy(done: "BackedUp", output: Output) -> None:
    data = {"operation": None, "dry_run": False, "undo": None} | file_data(done)
    name = terminal.plain(str(done.file))
    terminal.show(output, data, [f"copied {counted(done.keys, 'key')} to {name}", file_line(done)])
    terminal.say(_ONE_MACHINE)


def _show_exported(changed: "Changed[ExportedPhone]", output: Output) -> None:
    [done] = changed.phones
    undo = f"wa-sessions restore {changed.operation} --overwrite" if changed.operation else None
    data = {
        "operation": changed.operation,
        "phone_id": done.phone.id,
        "phone": done.phone.number,
        "organization_id": done.phone.organization_id,
        "status": done.phone.status,
        "matched": done.taken.matched,
        "quarantined": done.taken.quarantined,
        "left": done.taken.left,
        "by_type": done.taken.by_type,
        "dry_run": changed.dry_run,
        "undo": undo,
    } | (file_data(done.saved) if done.saved else {})
    keys = counted(done.taken.quarantined, "key")
    if done.saved is None:
        terminal.show(output, data, [f"would move {done.phone.number} and {keys} into the file", "nothing was changed"])
        return
    file = terminal.plain(str(done.saved.file))
    lines = [
        f"moved {done.phone.number} and {keys} into {file}",
        file_line(done.saved),
        f"next, on the other machine: wa-sessions import {file}",
        f"undo, only if it was never imported: {undo}",
    ]
    terminal.show(output, data, lines)
    if done.phone.connection_type == ConnectionType.BAILEYS:
        terminal.say("take it out of the Node backend's list here too: it would ask for a new QR")
    else:
        terminal.say(f"its row stays here, without keys; to take it away too: wa-sessions remove {done.phone.number}")


def _say_next(opened: "Opened", moved: "Changed[MovedPhone]", how: How) -> None:
    from wa_sessions.actions.sessions.assign import NOT_SEEN

    [one] = moved.phones
    if one.phone.connection_type == ConnectionType.NEONIZE:
        if not opened.backend.has_connection_type:
            terminal.say(NOT_SEEN)
        terminal.say(f"connect: wa-sessions run {one.phone.number}")
    elif how.node is None:
        terminal.say("start the Node backend again: it takes up its phones when it starts")
