"""``metrics``: the fleet for Prometheus."""

from typing import Annotated

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import DatabaseUrl, Output, ResultOptions


def metrics(
    *,
    textfile: Annotated[
        str | None,
        typer.Option("--textfile", metavar="FILE", help="Replace this file, for node_exporter, instead of printing."),
    ] = None,
    without_keys: Annotated[bool, typer.Option("--without-keys", help="Do not count the keys of every phone.")] = False,
    result: ResultOptions,
    database_url: DatabaseUrl = None,
) -> None:
    """Write the metrics of all phones for Prometheus. As text, or into a file, from cron.
    \f
    [Which metrics there are](../monitoring/README.md#metrics). The file is replaced in one step and stays as it was
    where the command fails; its name has to end with `.prom`. A worker answers a scrape itself: `run --metrics-listen`.
    Only SELECT is needed.

    JSON: `textfile` (null where none was written), `samples`, each with `name`, `labels`, `value`.

    Exit: 0, 1 (the file cannot be written), 2 (its name does not end with `.prom`), 4.
    """
    output = result.chosen
    if textfile is not None and not textfile.endswith(".prom"):
        raise typer.BadParameter(f"node_exporter reads only names that end with .prom, not {textfile[-40:]!r}")
    from wa_sessions.actions.watch import metrics as action

    with terminal.opened(database_url) as opened:
        found = action.snapshot(opened, with_keys=not without_keys)
    if textfile:
        action.write(found, textfile)
    if output is Output.TABLE:
        terminal.write(f"wrote {textfile}" if textfile else action.text(found).rstrip())
        return
    samples = [
        {"name": sample.name, "labels": dict(sample.labels), "value": sample.value}
        for family in action.registry(found).collect()
        for sample in family.samples
    ]
    if output is Output.JSON:
        terminal.write(terminal.as_json({"textfile": textfile, "samples": samples}))
    else:
        terminal.write(*terminal.tsv(samples, ("name", "labels", "value")))
