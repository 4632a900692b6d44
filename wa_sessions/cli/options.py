"""Arguments and options that mean the same on every command."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from wa_sessions.cli.configured import setting_option, typed
from wa_sessions.config import kinds, table
from wa_sessions.errors import UsageError
from wa_sessions.keys.phone_ref import PhoneRef, parse_phone

if TYPE_CHECKING:
    from wa_sessions.actions.node_process import NodeProcess

LONGEST_HISTORY = timedelta(days=3_660)
duration = typed(kinds.duration)
"""Reads ``90s``, ``10m``, ``1h`` or seconds; raises a usage error."""
age = typed(kinds.age)
"""Reads ``12h``, ``14d`` or ``8w``; raises a usage error."""


class Output(StrEnum):
    """How data is written to stdout."""

    TABLE = "table"
    JSON = "json"
    TSV = "tsv"


class LogFormat(StrEnum):
    """How a worker's log is written to stderr."""

    TEXT = "text"
    JSON = "json"


PhoneArgument = Annotated[
    str, typer.Argument(metavar="PHONE", help="A number in any spelling, a JID, or '#ID' (in quotes).")
]
PhoneOrAll = Annotated[str, typer.Argument(help="A number, a JID, '#ID' (in quotes), or all.", metavar="PHONE|all")]
WORKER_HELP = "A worker: host/pid, its pid, or the beginning of its id."
OrganizationArgument = Annotated[int | None, typer.Argument(metavar="[ORG]", help="The same as --org.")]
DatabaseUrl = Annotated[str | None, setting_option(table.DATABASE_URL, filled=False)]
Organization = Annotated[int | None, typer.Option("--org", metavar="N", help="Only in this organization.")]
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")]
Json = Annotated[bool, typer.Option("--json", help="The same as --output json.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Answer the question before it is asked.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done, through the same code, and change nothing.")
]
Embedded = Annotated[
    bool,
    typer.Option("--embedded", help="Without a terminal too, make an embedded database where none is configured."),
]
ProcessStopped = Annotated[
    bool, typer.Option("--process-stopped", help="The Node process of a connected baileys phone is stopped.")
]
StopCommand = Annotated[str | None, setting_option(table.STOP_COMMAND)]
StartCommand = Annotated[str | None, setting_option(table.START_COMMAND)]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Put what is newer there into quarantine, instead of refusing.")
]
Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="For the history.")]


@dataclass(frozen=True, eq=False, repr=False)
class ScopeOptions:
    """Which database, and which organization in it."""

    org: Organization = None
    database_url: DatabaseUrl = None


@dataclass(frozen=True, eq=False, repr=False)
class ResultOptions:
    """How a result is written."""

    output: OutputOption = Output.TABLE
    json: Json = False

    @property
    def chosen(self) -> Output:
        """The output that is meant. Raises UsageError where one option contradicts the other."""
        return chosen(self.output, json=self.json)


@dataclass(frozen=True, eq=False, repr=False)
class NodeOptions:
    """What becomes of the Node process while its rows are changed."""

    stop_command: StopCommand = None
    start_command: StartCommand = None
    process_stopped: ProcessStopped = False

    def process(self) -> "NodeProcess | None":
        """The process that is stopped and started, if commands are given. Raises UsageError for one alone."""
        if not (self.stop_command or self.start_command):
            return None
        from wa_sessions.actions.node_process import NodeProcess

        return NodeProcess.configured(self.stop_command, self.start_command)


@dataclass(frozen=True, eq=False, repr=False)
class ChangeOptions:
    """Whether a change is made or only shown, asked about or not, and why it is made."""

    reason: Reason = None
    dry_run: DryRun = False
    yes: Yes = False


def phone_or_all(text: str) -> PhoneRef | None:
    """The phone that is meant; None for all."""
    return None if text.strip().lower() == "all" else parse_phone(text)


def one_organization(argument: int | None, option: int | None) -> int | None:
    """The organization that was named, as an argument or as an option; raises UsageError for two."""
    if argument is not None and option is not None and argument != option:
        raise UsageError(f"organization {argument} or {option}? Name one")
    return option if argument is None else argument


def chosen(output: Output, *, json: bool) -> Output:
    """The output that is meant; raises UsageError where ``--json`` contradicts ``--output``."""
    if json and output is Output.TSV:
        raise UsageError("--json and --output tsv exclude each other")
    return Output.JSON if json else output


def is_typed(context: typer.Context, parameter: str) -> bool:
    """Whether a parameter stands in the command line, and not only in the environment or nowhere."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, the host of IPv6 in brackets; raises a usage error."""
    try:
        return kinds.address(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def long_ago(since: str) -> datetime:
    """The moment that lies ``12h`` or ``7d`` back; raises a usage error."""
    back = age(since)
    if back > LONGEST_HISTORY:
        raise UsageError(f"--since {since} is further back than any history: at most {LONGEST_HISTORY.days}d")
    return datetime.now(UTC) - back
