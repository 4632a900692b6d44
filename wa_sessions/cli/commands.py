"""The commands in the groups and the order of the help: where each is written, and an example of it."""

GROUPS: dict[str, dict[str, tuple[str, str | None]]] = {
    "Sessions": {
        "run": ("sessions.run.run", "wa-sessions run 77051234567 --on-message shop.inbox:take"),
        "add": ("sessions.phones.add", "wa-sessions add '+7 705 123-45-67' --org 1 --name Reception"),
        "assign": ("sessions.phones.assign", "wa-sessions assign 77051234567 neonize"),
        "rename": ("sessions.phones.rename", "wa-sessions rename 77051234567 'Front desk'"),
        "remove": ("repair.changes.remove", "wa-sessions remove 77051234567 --dry-run"),
        "relink": ("sessions.control.relink", "wa-sessions relink 77051234567"),
        "restart": ("sessions.control.restart", "wa-sessions restart 77051234567"),
        "move": ("sessions.workers.move", "wa-sessions move 77051234567 --to msg2/815"),
        "drain": ("sessions.workers.drain", "wa-sessions drain msg1/4711"),
        "send": ("sessions.control.send", "wa-sessions send 77051234567 77057654321 'The parcel is here'"),
        "qr": ("sessions.qr.qr", "wa-sessions qr 77051234567 --watch"),
        "inbox": ("sessions.inbox.app", None),
    },
    "Watch": {
        "sessions": ("watch.stats.sessions", "wa-sessions sessions --org 1 --unhealthy"),
        "stats": ("watch.stats.stats", "wa-sessions stats 77051234567 --json"),
        "top": ("watch.top.top", "wa-sessions top --org 1"),
        "check": ("watch.check.check", "wa-sessions check --all --freshness 5m"),
        "timeline": ("watch.timeline.timeline", "wa-sessions timeline 77051234567 --since 7d"),
        "errors": ("watch.errors.errors", "wa-sessions errors 77051234567 --since 1h"),
        "report": ("watch.report.report", "wa-sessions report --since 7d --html report.html"),
        "metrics": ("watch.metrics.metrics", "wa-sessions metrics --textfile /var/lib/node_exporter/wa_sessions.prom"),
        "logs": ("watch.logs.logs", "wa-sessions logs --pm2 messenger-backend"),
        "keys": ("watch.keys.keys", "wa-sessions keys 77051234567 --list --type session"),
        "alerts": ("watch.alerts.app", None),
        "workers": ("sessions.workers.workers", "wa-sessions workers --json"),
    },
    "Repair": {
        "clean-app-state": ("repair.changes.clean_app_state", "wa-sessions clean-app-state 77051234567 1"),
        "clean-sessions": (
            "repair.changes.clean_sessions",
            "wa-sessions clean-sessions 77051234567 --peer 77057654321",
        ),
        "force-close": ("repair.changes.force_close", "wa-sessions force-close 77051234567 --logout --reason hangs"),
        "reset-status": ("repair.changes.reset_status", "wa-sessions reset-status 77051234567 disconnected"),
        "operations": ("repair.history.operations", "wa-sessions operations 77051234567 --since 7d"),
        "restore": ("repair.history.restore", "wa-sessions restore op-20260115-7f3k9q"),
        "quarantine": ("repair.history.app", None),
        "unlink": ("repair.unlink.unlink", "wa-sessions unlink op-20260115-7f3k9q"),
    },
    "Move": {
        "adopt": ("move.takeover.adopt", "wa-sessions adopt 77051234567 --process-stopped"),
        "return": ("move.takeover.give_back", "wa-sessions return 77051234567"),
        "export": ("move.transfer.export", "wa-sessions export 77051234567 phone.age --recipients-file recipients.txt"),
        "import": ("move.transfer.import_", "wa-sessions import phone.age --identity key.txt"),
        "backup": ("move.backup.backup", "wa-sessions backup all phones.age --recipients-file recipients.txt"),
        "backup-key": ("move.backup.backup_key", "wa-sessions backup-key backup-key.txt"),
    },
    "Setup": {
        "config": ("setup.config.app", None),
        "db": ("setup.db.app", None),
        "completion": ("setup.completion.completion", "wa-sessions completion bash"),
        "demo": ("setup.demo.demo", "wa-sessions demo --json"),
    },
}
"""Module and name by command; without an example it has commands of its own."""

COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}
