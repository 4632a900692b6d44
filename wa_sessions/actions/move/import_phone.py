"""``import``: a phone comes from another machine's file, in the format that it has there or converted to the other."""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.carry_out import fenced, outdated
from wa_sessions.actions.engine.plan import Change, Plan, PlanItem, Scope, Target
from wa_sessions.actions.move.backup_contents import Contents, Saved, contents, read_again
from wa_sessions.actions.move.moving import STORES, Arriving, MovedPhone, Refused, let_go, settle
from wa_sessions.actions.move.store import make_store, require_store
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import fence_out_workers
from wa_sessions.db import health, key_transfer, phones, quarantine, restoring_file, rights
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.operations import IMPORT
from wa_sessions.db.phones import Phone
from wa_sessions.errors import (
    AmbiguousPhone,
    Conflict,
    OwnedByAnother,
    PhoneNotFound,
    UsageError,
    WaSessionsError,
)
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.events import operators as events
from wa_sessions.keys.backup_format import SavedRow
from wa_sessions.keys.baileys.rows import BaileysPhone, Row
from wa_sessions.keys.conversion.refusals import refusals, refusals_to_return
from wa_sessions.keys.conversion.remarks import Remark
from wa_sessions.keys.conversion.to_baileys import to_baileys
from wa_sessions.keys.conversion.to_whatsmeow import to_whatsmeow
from wa_sessions.keys.fields import Json
from wa_sessions.keys.key_types import key_type
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.saved_rows import auth_row, of_organization, store_row
from wa_sessions.keys.whatsmeow.rows import LID_MAP, WhatsmeowPhone

if TYPE_CHECKING:
    from wa_sessions.actions.move.encryption import Identity

Format = Literal["neonize", "baileys"]
Major = Literal[6, 7]
FORMATS: tuple[Format, ...] = ("neonize", "baileys")


@dataclass(frozen=True, slots=True)
class PhoneInFile:
    """A phone of a file: its rows in the store that it uses (``format``), and how many it has in the other."""

    contents: Contents
    saved: Saved
    format: Format
    rows: tuple[SavedRow, ...]

    @property
    def left_out(self) -> tuple[Remark, ...]:
        """What is not brought in."""
        others = self.saved.keys - len(self.rows)
        store = FORMATS[1 - FORMATS.index(self.format)]
        return (Remark(store, "keys in the other store, not those in use", others),) if others else ()

    @property
    def keys(self) -> dict[str, int]:
        """How many keys, by type."""
        if self.format == "neonize":
            return quarantine.by_kind(Counter(row.table for row in self.rows))
        return dict(Counter(key_type(row.key) for row in self.auth()))

    def auth(self) -> list[Row]:
        """Its rows of the Node backend's table."""
        binary = self.contents.header.auth_binary
        return [auth_row(row, binary=binary) for row in self.rows]

    def store(self) -> dict[str, list[Json]]:
        """Its rows of whatsmeow's tables."""
        tables: dict[str, list[Json]] = {}
        for row in self.rows:
            tables.setdefault(row.table, []).append(store_row(row))
        pairs = self.saved.phone.lid_map
        return tables | {LID_MAP: [{"lid": lid, "pn": number} for lid, number in pairs]}


def phone_in_file(file: Path, identities: "Sequence[Identity]" = (), who: PhoneRef | None = None) -> PhoneInFile:
    """The one phone that is meant; the whole file is read before anything of it is believed.

    Raises WaSessionsError for a file that cannot be read, UsageError, PhoneNotFound, AmbiguousPhone.
    """
    read = contents(file, identities)
    if who and who.digits is None:
        raise UsageError(f"{who} is an id of a database: name the phone of the file by its number")
    meant = [saved for saved in read.phones if who is None or saved.phone.number == who.digits]
    if not meant:
        raise PhoneNotFound(f"{file} has no phone {who or ''}".rstrip())
    if len(meant) > 1:
        some = ", ".join(saved.phone.number for saved in meant[:5]) + (", …" if len(meant) > 5 else "")
        raise AmbiguousPhone(f"{file} has {len(meant)} phones ({some}): choose one with --phone, or export one alone")
    [saved] = meant
    if not saved.stores:
        raise WaSessionsError(f"{file} has {saved.phone.number} without a single key: there is nothing to import")
    used = saved.store
    rows: list[SavedRow] = []

    def take(at: int, row: SavedRow) -> None:
        if at == saved.at and (row.table in restoring_file.AUTH_TABLES) == (used == "baileys"):
            rows.append(row)

    if read_again(read, identities, take) != read.totals:
        raise Conflict(f"{file} has changed while it was read: nothing was changed")
    return PhoneInFile(read, saved, cast("Format", used), tuple(rows))


ImportItem = PlanItem[Target, Arriving]
ImportPlan = Plan[Target, Arriving, MovedPhone]


@dataclass(frozen=True, slots=True)
class Import(Change[Target, Arriving, MovedPhone]):
    """Put a phone of a file into this database.

    It gets a row if it has none, in the organization of the scope, else of the file. ``wanted`` converts its keys, with
    what ``adopt`` and ``return`` refuse; ``major`` is the backend's version of Baileys then.
    """

    read: PhoneInFile
    wanted: Format | None = None
    major: Major | None = None
    reason: str = "came from another machine"
    store_url: str | None = None

    @property
    def connection_type(self) -> Format:
        """Whose it will be."""
        return self.wanted or self.read.format

    def targets(self, conn: Connection, opened: Opened, scope: Scope) -> Sequence[Target]:
        """The phone as it is here, or as it will be.

        Raises OwnedByAnother for one of the official API, AmbiguousPhone, PermissionMissing, SchemaMissing,
        DatabaseError for a store of another version.
        """
        whole = ("SELECT", "INSERT", "DELETE")
        on_phones = ("SELECT", "INSERT", "UPDATE")
        rights.require(conn, opened.backend, {self.connection_type}, keys=whole, phones=on_phones)
        saved = self.read.saved.phone
        organization = saved.organization_id if scope.organization_id is None else scope.organization_id
        try:
            phone = phones.find(conn, opened.backend, PhoneRef(digits=saved.number), organization)
        except PhoneNotFound:
            return [Target(0, saved.number, {"organization": organization})]
        if phone.connection_type == ConnectionType.WABA:
            raise OwnedByAnother(f"{phone.number} is a waba phone here (the official API): it has no session to import")
        return [Target.of(phone)]

    def look(self, conn: Connection, opened: Opened, target: Target, owner: WorkerInfo | None) -> ImportItem:  # noqa: ARG002
        """Judge its keys, and convert them.

        Raises Conflict where a pairing of the number stands here, Refused, BadKey, OwnedByAnother, UsageError.
        """
        if self.connection_type == "neonize":
            require_store(conn, opened)
        with self._row(conn, opened, target) as phone:
            self._refuse(conn, opened, phone)
            arriving = self._converted(conn, opened, phone)
        return PlanItem(target, arriving, len(self.read.rows))

    def beside_node(self, item: ImportItem) -> bool:
        """Where the Node backend has it here, whatever it becomes."""
        return item.target.phone is not None and item.phone.connection_type == ConnectionType.BAILEYS

    def stops_node(self, items: Sequence[ImportItem]) -> bool:
        """It takes up its phones when it starts."""
        return self.connection_type == "baileys" or any(map(self.beside_node, items))

    def prepare(self, opened: Opened, items: Sequence[ImportItem]) -> None:  # noqa: ARG002
        """Let neonize make its tables where it has not."""
        if self.connection_type == "neonize":
            with opened.database.transaction() as conn:
                made = key_transfer.store_version(conn) is not None
            if not made:
                make_store(opened, self.store_url)

    def apply(
        self, conn: Connection, opened: Opened, item: ImportItem, operation: str | None, *, stopped: bool
    ) -> tuple[str, MovedPhone]:
        """Put its keys in; what stood there without a pairing goes into quarantine."""
        if item.target.phone:
            phone = fenced(conn, opened, item, stopped=stopped)
        else:
            phone = self._added(conn, opened, item.target)
        self._refuse(conn, opened, phone)
        arriving, kind, file = item.found, self.connection_type, self.read.contents.file.name
        leaving = let_go(conn, opened, phone, action=IMPORT, reason=self.reason, operation=operation, stores=STORES)
        if kind == "neonize":
            quarantine.under_devices(conn, leaving.part, [arriving.device])
        ours = settle(
            conn,
            opened,
            leaving,
            arriving,
            ConnectionType(kind),
            said=f"imported from {file}",
            detail=lambda pairing, mark: events.Imported(
                actor=operator(),
                reason=self.reason,
                file=file,
                made_at=self.read.contents.header.made_at.isoformat(),
                keys=sum(arriving.keys.values()),
                quarantined=leaving.taken.quarantined,
                device=arriving.device,
                connection_type=kind,
                connection_type_before=phone.connection_type,
                pairing=pairing,
                mark=mark,
            ),
        )
        moved = MovedPhone.of(ours, leaving, arriving)
        left_out = self.read.left_out + arriving.left_out
        return leaving.part.operation_id, replace(moved, keys_before=self.read.keys, left_out=left_out)

    @contextmanager
    def _row(self, conn: Connection, opened: Opened, target: Target) -> Iterator[Phone]:
        """The phone's row; where there is none, one that is gone afterwards."""
        if target.phone:
            yield target.phone
            return
        with conn.transaction(force_rollback=True):
            yield self._added(conn, opened, target)

    def _added(self, conn: Connection, opened: Opened, target: Target) -> Phone:
        """The phone's row, which is new; no worker may own it."""
        saved, organization = self.read.saved.phone, int(str(target.like["organization"]))
        name = saved.row.get("displayName")
        try:
            phone = phones.add(
                conn, opened.backend, saved.number, organization, name if isinstance(name, str) else None
            )
        except UsageError:
            now = self.targets(conn, opened, Scope(None, organization))
            if now[0].phone:
                raise outdated([f"{saved.number} was added"]) from None
            raise
        health.record_event(conn, phone.id, phone.organization_id, events.Added(operator()))
        return fence_out_workers(conn, opened, phone.id)

    def _refuse(self, conn: Connection, opened: Opened, phone: Phone) -> None:
        """Raise Conflict where a pairing stands here, the phone went on after the file was made, or came with it."""
        if self.connection_type == "neonize":
            phones.require_alone(conn, opened.backend, phone)
        for store in FORMATS:
            if quarantine.pairing_of(conn, opened.backend, replace(phone, connection_type=ConnectionType(store))):
                raise Conflict(
                    f"a pairing of {phone.number} stands here already ({store}): if the file shall take its place, "
                    f"wa-sessions force-close {phone.number} --logout puts it into quarantine first"
                )
        file, made_at = self.read.contents.file, self.read.contents.header.made_at
        made = f"{file} was made at {made_at:%Y-%m-%d %H:%M:%S} UTC"
        old = "its keys are old and would break the session: import the newest file"
        if phone.last_connected_at and phone.last_connected_at > made_at:
            raise Conflict(
                f"{made}, and {phone.number} connected here at {phone.last_connected_at:%Y-%m-%d %H:%M:%S} UTC: {old}"
            )
        if later := key_transfer.moved_after(conn, phone.id, made_at):
            raise Conflict(f"{made}, and {phone.number} was {later.kind} here since, as {later.operation}: {old}")

    def _converted(self, conn: Connection, opened: Opened, phone: Phone) -> Arriving:
        if self.read.format == self.connection_type:
            return _as_it_is(opened, self.read, phone)
        if self.connection_type == "neonize":
            return _as_device(conn, self.read, phone)
        return _as_auth_keys(conn, opened, self.read, phone, self.major)


def _as_it_is(opened: Opened, read: PhoneInFile, phone: Phone) -> Arriving:
    rows = read.rows
    if read.format == "baileys" and phone.organization_id != read.saved.phone.organization_id:
        rows = tuple(of_organization(row, phone.organization_id) for row in rows)
    jid = next(iter(read.saved.devices), read.saved.phone.phone_jid)
    return Arriving(jid, read.keys, partial(_put_rows, backend=opened.backend, read=read, rows=rows))


def _put_rows(
    conn: Connection, _phone: Phone, *, backend: Backend, read: PhoneInFile, rows: tuple[SavedRow, ...]
) -> None:
    if read.format == "neonize" and key_transfer.store_version(conn) is None:
        return  # a dry run makes no tables

    def feed(take: Callable[[SavedRow], None]) -> None:
        for row in rows:
            take(row)

    restoring_file.put_back(conn, backend, feed, binary=read.contents.header.auth_binary)
    if read.format == "neonize":
        key_transfer.put_lid_map(conn, read.saved.phone.lid_map)


def _as_device(conn: Connection, read: PhoneInFile, phone: Phone) -> Arriving:
    before = BaileysPhone.of_rows(read.auth())
    if reasons := refusals(before, phone.number):
        raise Refused(phone, reasons)
    known = key_transfer.lid_map(conn) if key_transfer.store_version(conn) is not None else []
    converted = to_whatsmeow(before, fresh_pre_key=secrets.token_bytes(32), lid_map=known)
    tables = converted.phone.rows()

    def put(conn: Connection, _phone: Phone) -> None:
        if key_transfer.store_version(conn) is not None:  # a dry run makes no tables
            key_transfer.put_device(conn, tables)

    keys = quarantine.by_kind({name: len(rows) for name, rows in tables.items()})
    return Arriving(converted.phone.device.jid, keys, put, converted.left_out, converted.notices)


def _as_auth_keys(conn: Connection, opened: Opened, read: PhoneInFile, phone: Phone, major: Major | None) -> Arriving:
    before = WhatsmeowPhone.of_rows(read.store())
    if reasons := refusals_to_return(before):
        raise Refused(phone, reasons)
    seven = key_transfer.uses_seven(conn, opened.backend, phone.organization_id)
    converted = to_baileys(
        before,
        major=major or (7 if seven else 6),
        before=None,
        pairing_key=secrets.token_bytes(32),
        now=round(time.time() * 1000),
    )
    rows = converted.phone.rows()

    def put(conn: Connection, phone: Phone) -> None:
        key_transfer.put_auth_keys(conn, opened.backend, phone, rows)

    keys = dict(Counter(key_type(row.key) for row in rows))
    return Arriving(before.device.jid, keys, put, converted.left_out, converted.notices)
