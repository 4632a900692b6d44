"""Options as settings: what is not typed comes from the environment or a config file, which each command can name."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.models import OptionInfo

from wa_sessions import config
from wa_sessions.config.kinds import Number
from wa_sessions.config.table import Setting

T = TypeVar("T")

SHARED = {
    "config_file": (("--config",), "FILE", "A config file that goes before the usual ones."),
    "profile": (("-P", "--profile"), "NAME", "The settings of this profile in the config files go first."),
}
"""Parameter, flags, what they take, and their help."""


class SettingOption(OptionInfo):
    """The option of a setting; ``setting`` is None where what is configured is read elsewhere."""

    setting: Setting[Any] | None


def setting_option(setting: Setting[Any], callback: Callable[..., Any] | None = None, *, filled: bool = True) -> Any:
    """The option of a setting, for ``Annotated``; where it is not typed it is ``filled`` with what is configured."""
    kind = setting.kind
    least, most = (kind.least, kind.most) if isinstance(kind, Number) else (None, None)
    option = SettingOption(
        default=...,
        param_decls=(setting.flag or "",),
        metavar=setting.metavar,
        help=setting.help,
        callback=callback,
        min=least,
        max=most,
        parser=typed(kind.read) if isinstance(setting.default, timedelta) else None,
    )
    option.setting = setting if filled else None
    return option


def typed(read: Callable[[str], T]) -> Callable[[str], T]:
    """What reads a text, its ValueError a complaint about the option that it was typed for."""

    @functools.wraps(read)
    def parser(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return parser


def unfolded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as typer reads it: a parameter that is a dataclass stands for the options that are its fields."""
    groups: dict[str, tuple[Any, list[str]]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        kind = parameter.annotation
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            fields = _fields(kind)
            groups[parameter.name] = kind, [field.name for field in fields]
            parameters += fields
        else:
            parameters.append(parameter)

    @functools.wraps(function)
    def command(**given: Any) -> Any:
        for name, (kind, fields) in groups.items():
            given[name] = kind(**{field: given.pop(field) for field in fields})
        return function(**given)

    settings = {parameter.name: _setting(parameter) for parameter in parameters}
    command.__dict__["settings"] = {name: setting for name, setting in settings.items() if setting}
    command.__dict__["__signature__"] = inspect.Signature([_as_typed(parameter) for parameter in parameters])
    command.__annotations__ = {}  # those of the signature are resolved
    return command


@functools.cache
def _fields(kind: type) -> list[inspect.Parameter]:
    types, fields = get_type_hints(kind, include_extras=True), dataclasses.fields(kind)
    return [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=types[one.name])
        for one in fields
    ]


def _setting(parameter: inspect.Parameter) -> Setting[Any] | None:
    options = getattr(parameter.annotation, "__metadata__", ())
    return next((option.setting for option in options if isinstance(option, SettingOption)), None)


def _as_typed(parameter: inspect.Parameter) -> inspect.Parameter:
    """A default is text where typer has to read it."""
    setting = _setting(parameter)
    is_read = setting is not None and isinstance(parameter.default, timedelta)
    return parameter.replace(default=setting.default_text) if setting and is_read else parameter


class _Configured(dict[str, Any]):
    """What options have that are not typed, as click asks for it: read only then, so that ``--profile`` counts."""

    def __init__(self, context: Any, settings: dict[str, Setting[Any]]) -> None:
        super().__init__()
        self._context, self._settings = context, settings

    def get(self, name: str, default: Any = None) -> Any:
        """The value as text; None where nothing is configured, and beside an option of its group that is typed."""
        setting = self._settings.get(name)
        if setting is None or (setting.group and self._is_typed(setting.group)):
            return default
        written = config.written(setting)
        return default if written is None else written

    def _is_typed(self, group: str) -> bool:
        others = [name for name, setting in self._settings.items() if setting.group == group]
        sources = map(self._context.get_parameter_source, others)
        return any(source is not None and source.name == "COMMANDLINE" for source in sources)


class Command(TyperCommand):
    """A command with the options that all share, whose options are settings."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params = [*self.params, *_shared_options()]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; what is not typed comes from what is configured."""
        settings = getattr(self.callback, "settings", {})
        if settings and not ctx.resilient_parsing:
            ctx.default_map = _Configured(ctx, settings)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, which says the defaults of the program and reads no file."""
        ctx.default_map = None
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """A group of commands with the same."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params = [*self.params, *_shared_options()]


def _shared_options() -> list[TyperOption]:
    """``--config`` and ``--profile``, which go into effect before anything is read."""
    return [
        TyperOption(
            param_decls=[name, *flags],
            metavar=metavar,
            help=words,
            callback=_use,
            expose_value=False,
            is_eager=True,
            show_default=False,
        )
        for name, (flags, metavar, words) in SHARED.items()
    ]


def _use(context: Any, parameter: Any, value: str | None) -> None:
    if value is None or context.resilient_parsing:
        return
    if not value.strip():
        raise typer.BadParameter("it is empty")
    config.use(**{"file" if parameter.name == "config_file" else "profile": value})


def words_of_command(arguments: Sequence[str]) -> list[str]:
    """The arguments without the shared options that stand before the command.

    >>> words_of_command(["-P", "prod", "--config=here.toml", "stats", "77051234567"])
    ['stats', '77051234567']
    """
    words = list(arguments)
    flags = {flag for names, _, _ in SHARED.values() for flag in names}
    while words and words[0].startswith("-"):
        flag, joined, _ = words[0].partition("=")
        if flag in flags:
            del words[: 1 if joined else 2]
        elif words[0].startswith("-P"):
            del words[0]
        else:
            break
    return words
