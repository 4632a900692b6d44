"""``backup``, ``backup-key`` and the part of ``restore`` that reads a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions import config
from wa_sessions.cli import terminal
from wa_sessions.cli.changing import How, perform
from wa_sessions.cli.options import (
    Output,
    PhoneOrAll,
    ResultOptions,
    ScopeOptions,
    phone_or_all,
)
from wa_sessions.cli.times import iso
from wa_sessions.config.table import BACKUP_IDENTITY, BACKUP_RECIPIENT
from wa_sessions.errors import UsageError
from wa_sessions.keys.phone_ref import parse_phone
from wa_sessions.wording import counted

if TYPE_CHECKING:
    from wa_sessions.actions.engine.plan import Changed
    from wa_sessions.actions.move.backup import BackedUp
    from wa_sessions.actions.move.backup_contents import Contents
    from wa_sessions.actions.move.encryption import Identity, Recipient
    from wa_sessions.actions.move.restore_file import FilePlan, FileRestored, ReturnedPhone

RecipientKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--recipient",
        metavar="KEY",
        help="Encrypt to this age1… or ssh-ed25519 key; repeatable. Else WA_SESSIONS_BACKUP_RECIPIENT.",
    ),
]
RecipientsFile = Annotated[
    Path | None, typer.Option("--recipients-file", metavar="FILE", help="Encrypt to the keys in it, one a line.")
]
NoEncryption = Annotated[
    bool, typer.Option("--no-encryption", help="Write plain text: who reads the file owns the sessions.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite a file.")]
IdentityFiles = Annotated[
    list[str] | None, typer.Option("--identity", metavar="KEYFILE", help="The age key that opens the backup.")
]
UNITS = ("bytes", "KiB", "MiB", "GiB")


def backup(
    phone: PhoneOrAll,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to make.")],
    *,
    recipient: RecipientKeys = None,
    recipients_file: RecipientsFile = None,
    no_encryption: NoEncryption = False,
    force: Force = False,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Save phones and all their keys to an encrypted file. restore --file brings them back.
    \f
    The file holds the phone's row and every key of it in both key stores, as of one moment, with the pairs of LID and
    number of those that it talks to, and is read back and compared before it gets its name: a file that is there is
    whole. It is made with mode 0600. Only SELECT is needed, and nothing is changed. `all --org N` saves one
    organization.

    It is encrypted with [age](https://age-encryption.org) to each recipient, so that the machine that makes backups
    cannot read them. As recipients can only encrypt, one more key is made for every run, in memory, to read the
    file back; it is forgotten then. `wa-sessions backup-key FILE` makes a key, `age-keygen` does too, and
    `ssh-ed25519` and `ssh-rsa` keys will do. `WA_SESSIONS_BACKUP_RECIPIENT` holds several separated by commas.

    A backup is for a lost database. The keys in it age with every message: restoring an old one costs sessions, so
    take it often. A run that was killed by SIGKILL leaves at most a hidden file that ends in `.part`.

    Replaces: `backup-baileys-auth.sh`.

    JSON: `file`, `phones`, `keys`, `bytes`, `encrypted`, `recipients` (how many), `sha256` (of the decrypted
    content but for its last line), `made_at`, `verified`, `without_phone` (auth keys left out as no phone has their
    number; looked for by `all` without `--org`).

    Exit: 0, 1 (the file cannot be written, or the role lacks a right), 2, 3, 4.
    """
    output = result.chosen
    ref = phone_or_all(phone)
    to_whom = readers(recipient or [], recipients_file, plain=no_encryption)
    from wa_sessions.actions.move.backup import Destination
    from wa_sessions.actions.move.backup import backup as action
    from wa_sessions.actions.node_process import ending_raises

    to = Destination(file, to_whom, no_encryption, force)
    with ending_raises(), terminal.opened(where.database_url) as opened, terminal.progress("saving") as to.progress:
        done = action(opened, ref, to, where.org)
    heads = {"file": str(done.file), "phones": done.phones}
    data = heads | file_data(done) | {"without_phone": done.without_phone}
    what = f"{counted(done.phones, 'phone')} and {counted(done.keys, 'key')}"
    lines = [
        f"saved {what} to {terminal.plain(str(done.file))}",
        file_line(done),
        f"to bring them back: wa-sessions restore --file {terminal.plain(str(done.file))}",
    ]
    terminal.show(output, data, lines)
    if done.without_phone:
        terminal.say(f"left out {counted(done.without_phone, 'auth key')} of numbers that no phone has")


def backup_key(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to make. Keep it off the machine that makes backups.")
    ],
    *,
    result: ResultOptions,
) -> None:
    """Make a key for backups. Its secret half goes to a file, its public half is shown.
    \f
    The same as `age-keygen -o FILE`, where that is not installed. An existing file is never overwritten. Without
    that file no backup that is encrypted to it can be read: keep it where neither a fire nor a thief finds both.

    JSON: `file`, `recipient`.

    Exit: 0, 1 (the file exists or cannot be written), 2.
    """
    output = result.chosen
    from wa_sessions.actions.move.encryption import make_key

    recipient = make_key(file)
    lines = [
        f"made {terminal.plain(str(file))}: keep it safe, and off the machine that makes backups",
        f"next: wa-sessions backup all FILE --recipient {recipient}",
    ]
    terminal.show(output, {"file": str(file), "recipient": recipient}, lines)


def file_data(done: "BackedUp") -> dict[str, Any]:
    """The facts of a file that was written, for machines."""
    return {
        "file": str(done.file),
        "keys": done.keys,
        "bytes": done.bytes,
        "encrypted": done.encrypted,
        "recipients": done.recipients,
        "sha256": done.sha256,
        "made_at": iso(done.made_at),
        "verified": done.verified,
    }


def file_line(done: "BackedUp") -> str:
    """The same for people."""
    to = f"encrypted to {counted(done.recipients, 'recipient')}" if done.encrypted else "NOT ENCRYPTED"
    return f"{size_of(done.bytes)}, {to}, read back and compared"


def bring_back(
    file: Path, phone: str | None, identity: list[str], *, overwrite: bool, where: ScopeOptions, how: How
) -> None:
    """What ``restore --file`` does: read the file, ask, restore, show."""
    ref = parse_phone(phone) if phone is not None else None
    keys = identities_of(identity)
    from wa_sessions.actions.engine.plan import Scope
    from wa_sessions.actions.move.backup_contents import contents
    from wa_sessions.actions.move.restore_file import RestoreFile

    read = contents(file, keys)
    change = RestoreFile(read, keys, overwrite)
    with terminal.opened(where.database_url) as opened:
        perform(opened, change, Scope(ref, where.org), how, FileView(read))


@dataclass(frozen=True, slots=True)
class FileView:
    """Of phones that come back from a file."""

    read: "Contents"

    def question(self, planned: "FilePlan") -> str:
        """What an operator is asked before it is made."""
        many, made = len(planned.items), f"{self.read.header.made_at:%Y-%m-%d %H:%M:%S} UTC"
        subject = planned.items[0].phone.number if many == 1 else f"{many} phones"
        return (
            f"Restore {counted(planned.keys, 'key')} of {subject} from {self.read.file}, made at {made}, and put what "
            "they have now into quarantine?"
        )

    def show(self, changed: "Changed[ReturnedPhone]", planned: "FilePlan", how: How) -> None:
        """What came back."""
        from wa_sessions.actions.move.restore_file import FileRestored

        _show_restored(FileRestored.of(changed, planned, self.read), how.output)


def identities_of(files: list[str]) -> "list[Identity]":
    configured = config.value(BACKUP_IDENTITY)
    named = files or ([configured] if configured else [])
    if not named:
        return []
    from wa_sessions.actions.move.encryption import identities

    return [identity for name in named for identity in identities(Path(name))]


def _show_restored(done: "FileRestored", output: Output) -> None:
    parts = [
        {
            "phone_id": part.phone.id,
            "phone": part.phone.number,
            "organization_id": part.phone.organization_id,
            "status": part.status,
            "matched": part.taken.matched,
            "quarantined": part.taken.quarantined,
            "left": part.taken.left,
            "restored": part.restored,
        }
        for part in done.phones
    ]
    if output is Output.TSV:
        heads = {"operation": done.operation, "dry_run": done.dry_run}
        terminal.write(*terminal.tsv([heads | part for part in parts], [*heads, *_RESTORED]))
        return
    data = {
        "operation": done.operation,
        "matched": done.matched,
        "quarantined": done.quarantined,
        "left": done.left,
        "restored": done.restored,
        "skipped": done.skipped,
        "dry_run": done.dry_run,
        "undo": done.undo,
        "file": str(done.file),
        "made_at": iso(done.made_at),
        "phones": parts,
    }
    terminal.show(output, data, _restored_lines(done))


_RESTORED = ("phone_id", "phone", "organization_id", "status", "matched", "quarantined", "left", "restored")


def _restored_lines(done: "FileRestored") -> list[str]:
    subject = done.phones[0].phone.number if len(done.phones) == 1 else counted(len(done.phones), "phone")
    verbs = ("would bring", "would go") if done.dry_run else ("brought", "went")
    lines = [f"{verbs[0]} {counted(done.restored, 'key')} of {subject} back"]
    if done.quarantined:
        lines += [f"{counted(done.quarantined, 'key')} that stood there {verbs[1]} to quarantine"]
    if done.skipped:
        lines += [f"left {counted(done.skipped, 'phone')} alone, as the file has no session of them"]
    if done.dry_run:
        return [*lines, "nothing was changed"]
    if done.undo:
        lines += [f"undo: {done.undo}"]
    kinds = {part.phone.connection_type for part in done.phones}
    if "neonize" in kinds:
        lines += [f"next: wa-sessions run {subject if len(done.phones) == 1 else ''}".rstrip()]
    if "baileys" in kinds:
        lines += ["next: start the Node backend again"]
    return lines


def readers(texts: list[str], file: Path | None, *, plain: bool) -> "list[Recipient]":
    if plain:
        if texts or file:
            raise UsageError("--no-encryption excludes --recipient and --recipients-file")
        return []
    if not texts and not file:
        texts = [*config.value(BACKUP_RECIPIENT)]
    if not texts and not file:
        raise UsageError(
            "to whom is it encrypted? Make a key with wa-sessions backup-key FILE, then name its public half: "
            f"--recipient age1… or {BACKUP_RECIPIENT.variable}; --no-encryption writes plain text"
        )
    from wa_sessions.actions.move.encryption import recipients

    found = recipients(texts, file)
    if not found:
        raise UsageError(f"{file} has no recipient: write age1… or ssh-ed25519 … lines into it")
    return found


def size_of(size: float) -> str:
    """Bytes as people say them.

    >>> [size_of(size) for size in (999, 20_000, 3_500_000)]
    ['999 bytes', '19.5 KiB', '3.3 MiB']
    """
    for unit in UNITS:
        if size < 1024 or unit == UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == UNITS[0] else f"{size:.1f} {unit}"
