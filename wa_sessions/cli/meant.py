"""What was meant by a word that is no command, or that a command does not take."""

from typing import Any

from wa_sessions.cli.commands import COMMANDS, GROUPS
from wa_sessions.cli.configured import Group

_COMMANDS = {
    "close": ("force-close",),
    "delete": ("remove",),
    "help": ("--help",),
    "history": ("timeline", "operations"),
    "list": ("sessions",),
    "ls": ("sessions",),
    "messages": ("inbox",),
    "phones": ("sessions",),
    "profiles": ("config show",),
    "ps": ("workers", "sessions"),
    "settings": ("config show",),
    "start": ("run", "restart"),
    "status": ("stats",),
    "stop": ("drain", "force-close"),
    "undo": ("restore",),
    "version": ("--version",),
}
"""By words of other programs: commands and options of ours."""

_OF_ALL_PHONES = frozenset({"wa-sessions sessions", "wa-sessions top", "wa-sessions workers"})


class Root(Group):
    """All commands, in their groups; of a word that is none it says what it may mean."""

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """Write each group under its heading."""
        widest = max(map(len, COMMANDS))
        for heading, group in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), summary) for name, (_, _, summary) in group.items()])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names."""
        word = args[0]
        if word in _COMMANDS and word not in self.commands:
            choices = " or ".join(f"'wa-sessions {one}'" for one in _COMMANDS[word])
            ctx.fail(f"No such command '{word}'. Did you mean {choices}?")
        return super().resolve_command(ctx, args)


def with_way_on(message: str, command: str) -> str:
    """Click's complaint about a ``command``, and where to go with a phone that it does not take."""
    if command in _OF_ALL_PHONES and "extra argument" in message:
        return f"{message}; of one phone: wa-sessions stats PHONE"
    return message
