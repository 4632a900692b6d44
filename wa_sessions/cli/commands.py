"""The commands in the groups and the order of the help: where each is written, an example of it, and what it does."""

GROUPS: dict[str, dict[str, tuple[str, str | None, str]]] = {
    "Sessions": {
        "run": (
            "sessions.run.run",
            "wa-sessions run 77051234567 --on-message shop.inbox:take",
            "Keep sessions connected, in the foreground.",
        ),
        "add": (
            "sessions.phones.add",
            "wa-sessions add '+7 705 123-45-67' --org 1 --name Reception",
            "Add a phone, for wa-sessions run to keep connected.",
        ),
        "assign": ("sessions.phones.assign", "wa-sessions assign 77051234567 neonize", "Say who runs a phone."),
        "rename": (
            "sessions.phones.rename",
            "wa-sessions rename 77051234567 'Front desk'",
            "Give a phone another name.",
        ),
        "remove": (
            "repair.changes.remove",
            "wa-sessions remove 77051234567 --dry-run",
            "Remove a phone made with add.",
        ),
        "relink": ("sessions.control.relink", "wa-sessions relink 77051234567", "Show QR codes again."),
        "restart": ("sessions.control.restart", "wa-sessions restart 77051234567", "Connect a session anew."),
        "move": (
            "sessions.workers.move",
            "wa-sessions move 77051234567 --to msg2/815",
            "Have another worker run a phone.",
        ),
        "drain": ("sessions.workers.drain", "wa-sessions drain msg1/4711", "Empty a worker before it is stopped."),
        "send": (
            "sessions.control.send",
            "wa-sessions send 77051234567 77057654321 'The parcel is here'",
            "Send a text message.",
        ),
        "qr": ("sessions.qr.qr", "wa-sessions qr 77051234567 --watch", "Show the QR that a phone is to scan now."),
        "inbox": ("sessions.inbox.app", None, "Look after messages that wait for their handler."),
    },
    "Watch": {
        "sessions": ("watch.stats.sessions", "wa-sessions sessions --org 1 --unhealthy", "List all phones."),
        "stats": (
            "watch.stats.stats",
            "wa-sessions stats 77051234567 --json",
            "Say how healthy a session is, and what to do about it.",
        ),
        "top": ("watch.top.top", "wa-sessions top --org 1", "Watch all phones live, the worst first."),
        "check": (
            "watch.check.check",
            "wa-sessions check --all --freshness 5m",
            "Judge one phone or all, for Nagios and Icinga.",
        ),
        "timeline": (
            "watch.timeline.timeline",
            "wa-sessions timeline 77051234567 --since 7d",
            "Tell what happened to a phone, in words.",
        ),
        "errors": (
            "watch.errors.errors",
            "wa-sessions errors 77051234567 --since 1h",
            "Show the error counters and how they came about.",
        ),
        "report": (
            "watch.report.report",
            "wa-sessions report --since 7d --html report.html",
            "Sum up a week: errors, repairs, availability.",
        ),
        "metrics": (
            "watch.metrics.metrics",
            "wa-sessions metrics --textfile /var/lib/node_exporter/wa_sessions.prom",
            "Write the metrics of all phones for Prometheus.",
        ),
        "logs": (
            "watch.logs.logs",
            "wa-sessions logs --pm2 messenger-backend",
            "Tell from the Node backend's logs what each phone met.",
        ),
        "keys": (
            "watch.keys.keys",
            "wa-sessions keys 77051234567 --list --type session",
            "Count a phone's auth keys by type, or list their names.",
        ),
        "alerts": ("watch.alerts.app", None, "Alerts, by webhook, Telegram and e-mail."),
        "workers": ("sessions.workers.workers", "wa-sessions workers --json", "List the workers."),
    },
    "Repair": {
        "clean-app-state": (
            "repair.changes.clean_app_state",
            "wa-sessions clean-app-state 77051234567 1",
            "Mend Bad Decrypt: the app state syncs anew.",
        ),
        "clean-sessions": (
            "repair.changes.clean_sessions",
            "wa-sessions clean-sessions 77051234567 --peer 77057654321",
            "Mend Bad MAC: sessions go to quarantine.",
        ),
        "force-close": (
            "repair.changes.force_close",
            "wa-sessions force-close 77051234567 --logout --reason hangs",
            "Close a session until run or restart.",
        ),
        "reset-status": (
            "repair.changes.reset_status",
            "wa-sessions reset-status 77051234567 disconnected",
            "Set a phone's status in the database.",
        ),
        "operations": (
            "repair.history.operations",
            "wa-sessions operations 77051234567 --since 7d",
            "List what was done to phones and their keys.",
        ),
        "restore": ("repair.restore.restore", "wa-sessions restore op-20260115-7f3k9q", "Undo an operation."),
        "quarantine": ("repair.quarantine.app", None, "Look after the keys in quarantine."),
        "unlink": (
            "repair.unlink.unlink",
            "wa-sessions unlink op-20260115-7f3k9q",
            "Log a closed session's device out at WhatsApp.",
        ),
    },
    "Move": {
        "adopt": (
            "move.adopting.adopt",
            "wa-sessions adopt 77051234567 --process-stopped",
            "Take a phone over from the Node backend.",
        ),
        "return": (
            "move.adopting.return_phone",
            "wa-sessions return 77051234567",
            "Give a phone back to the Node backend.",
        ),
        "export": (
            "move.transfer.export",
            "wa-sessions export 77051234567 phone.age --recipients-file recipients.txt",
            "Move a phone into an encrypted file, for another machine.",
        ),
        "import": (
            "move.transfer.import_",
            "wa-sessions import phone.age --identity key.txt",
            "Bring a phone in from another machine's file.",
        ),
        "backup": (
            "move.backup.backup",
            "wa-sessions backup all phones.age --recipients-file recipients.txt",
            "Save phones and all their keys to an encrypted file.",
        ),
        "backup-key": ("move.backup.backup_key", "wa-sessions backup-key backup-key.txt", "Make a key for backups."),
    },
    "Setup": {
        "config": ("setup.config.app", None, "See and check the settings."),
        "db": ("setup.db.app", None, "The schema wa_sessions, and the embedded server."),
        "completion": (
            "setup.completion.completion",
            "wa-sessions completion bash",
            "Print the script that makes the Tab key complete words.",
        ),
        "demo": ("setup.demo.demo", "wa-sessions demo --json", "Watch sessions break and mend, on this machine alone."),
    },
}
"""By command: module and name, an example, and its line in the help; without an example it has commands of its own.

The help's lines stand here so that they are shown without importing each command.
"""

COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}
