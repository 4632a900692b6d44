"""The commands in the groups and the order of the help: where each is written, and an example of it."""

GROUPS: dict[str, dict[str, tuple[str, str | None]]] = {
    "Sessions": {
        "run": ("run.run", "wa-sessions run 77051234567 --on-message shop.inbox:take"),
        "add": ("phones.add", "wa-sessions add '+7 705 123-45-67' --org 1 --name Reception"),
        "assign": ("phones.assign", "wa-sessions assign 77051234567 neonize"),
        "rename": ("phones.rename", "wa-sessions rename 77051234567 'Front desk'"),
        "remove": ("repair.remove", "wa-sessions remove 77051234567 --dry-run"),
        "relink": ("control.relink", "wa-sessions relink 77051234567"),
        "restart": ("control.restart", "wa-sessions restart 77051234567"),
        "move": ("workers.move", "wa-sessions move 77051234567 --to msg2/815"),
        "drain": ("workers.drain", "wa-sessions drain msg1/4711"),
        "send": ("control.send", "wa-sessions send 77051234567 77057654321 'The parcel is here'"),
        "qr": ("qr.qr", "wa-sessions qr 77051234567 --watch"),
        "inbox": ("inbox.app", None),
    },
    "Watch": {
        "sessions": ("stats.sessions", "wa-sessions sessions --org 1 --unhealthy"),
        "stats": ("stats.stats", "wa-sessions stats 77051234567 --json"),
        "top": ("top.top", "wa-sessions top --org 1"),
        "check": ("check.check", "wa-sessions check --all --freshness 5m"),
        "timeline": ("timeline.timeline", "wa-sessions timeline 77051234567 --since 7d"),
        "errors": ("errors.errors", "wa-sessions errors 77051234567 --since 1h"),
        "report": ("report.report", "wa-sessions report --since 7d --html report.html"),
        "metrics": ("metrics.metrics", "wa-sessions metrics --textfile /var/lib/node_exporter/wa_sessions.prom"),
        "logs": ("logs.logs", "wa-sessions logs --pm2 messenger-backend"),
        "keys": ("keys.keys", "wa-sessions keys 77051234567 --list --type session"),
        "alerts": ("alerts.app", None),
        "workers": ("workers.workers", "wa-sessions workers --json"),
    },
    "Repair": {
        "clean-app-state": ("repair.clean_app_state", "wa-sessions clean-app-state 77051234567 1"),
        "clean-sessions": ("repair.clean_sessions", "wa-sessions clean-sessions 77051234567 --peer 77057654321"),
        "force-close": ("repair.force_close", "wa-sessions force-close 77051234567 --logout --reason 'hangs' --yes"),
        "reset-status": ("repair.reset_status", "wa-sessions reset-status 77051234567 disconnected"),
        "operations": ("history.operations", "wa-sessions operations 77051234567 --since 7d"),
        "restore": ("history.restore", "wa-sessions restore op-20260115-7f3k9q"),
        "quarantine": ("history.app", None),
        "unlink": ("unlink.unlink", "wa-sessions unlink op-20260115-7f3k9q"),
    },
    "Move": {
        "adopt": ("takeover.adopt", "wa-sessions adopt 77051234567 --process-stopped"),
        "return": ("takeover.give_back", "wa-sessions return 77051234567"),
        "export": ("transfer.export", "wa-sessions export 77051234567 phone.age --recipients-file recipients.txt"),
        "import": ("transfer.import_", "wa-sessions import phone.age --identity key.txt"),
        "backup": ("backup.backup", "wa-sessions backup all phones.age --recipients-file recipients.txt"),
        "backup-key": ("backup.backup_key", "wa-sessions backup-key backup-key.txt"),
    },
    "Setup": {
        "db": ("db.app", None),
        "completion": ("completion.completion", "wa-sessions completion bash"),
        "demo": ("demo.demo", "wa-sessions demo --json"),
    },
}
"""Module and name by command; without an example it has commands of its own."""

COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}
