"""Settings without a database: what goes before what, what a file may say, and what is never shown."""

import ast
import doctest
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from wa_sessions import config
from wa_sessions.actions.sessions.run import RunOptions
from wa_sessions.actions.setup import configuration
from wa_sessions.cli.configured import words_of_command
from wa_sessions.config import files, kinds, masks, simple_toml, table
from wa_sessions.config.files import ConfigFile
from wa_sessions.config.reading import Configuration
from wa_sessions.config.table import DATABASE_URL, MAX_BAD_MAC, SETTINGS, Setting
from wa_sessions.errors import UsageError
from wa_sessions.health.limits import Limits
from wa_sessions.worker.lease_times import DEFAULT_LEASE

ROOT = Path(__file__).parents[2] / "wa_sessions"
SECRET = "geheim"
Capture = pytest.CaptureFixture[str]


def _file(place: str, top: int | None, of_profile: int | None) -> ConfigFile:
    values = {} if top is None else {"max_bad_mac": top}
    profiles = {} if of_profile is None else {"prod": {"max_bad_mac": of_profile}}
    return ConfigFile(Path(place), values, profiles)


@given(st.lists(st.none() | st.integers(1, 999), min_size=8, max_size=8))
def test_the_first_that_says_something_wins(values: list[int | None]) -> None:
    flag, variable, *rest = values
    of_profiles, tops = rest[:3], rest[3:]
    places = ("/named", "/home", "/etc")
    configured = Configuration(
        {} if variable is None else {"WA_SESSIONS_MAX_BAD_MAC": str(variable)},
        tuple(map(_file, places, tops, of_profiles)),
        "prod",
        {} if flag is None else {"max_bad_mac": str(flag)},
    )
    origins = ("flag", "env WA_SESSIONS_MAX_BAD_MAC", *places, *places)
    said = [(value, origin) for value, origin in zip(values, origins, strict=True) if value is not None]
    found = configured.find(MAX_BAD_MAC)
    expected = said[0] if said else (3, None)
    assert (configured.value(MAX_BAD_MAC), found and found.origin) == expected


DATABASES = ("variable", "file", "credential", "backend", "backend's file", "libpq", "config")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "ours").write_text("postgresql://file\n")
    (folder / "theirs").write_text("postgresql://theirs\r\n")
    (folder / "database_url").write_text("postgresql://credential\n")
    return folder


@given(st.sets(st.sampled_from(DATABASES)))
def test_which_database_goes_first(secrets: Path, said: set[str]) -> None:
    places = {
        "variable": {"WA_SESSIONS_DATABASE_URL": "postgresql://variable"},
        "file": {"WA_SESSIONS_DATABASE_URL_FILE": str(secrets / "ours")},
        "credential": {"CREDENTIALS_DIRECTORY": str(secrets)},
        "backend": {"DATABASE_URL": "postgresql://backend"},
        "backend's file": {"DATABASE_URL_FILE": str(secrets / "theirs")},
        "libpq": {"PGUSER": "ops"},
    }
    environment = {name: value for place in places if place in said for name, value in places[place].items()}
    read = (ConfigFile(Path("/etc/c"), {"database_url": "postgresql://config"}, {}),) if "config" in said else ()
    found = Configuration(environment, read).find(DATABASE_URL)
    values = ("variable", "file", "credential", "backend", "theirs", None, "config")
    origins = (
        *("env WA_SESSIONS_DATABASE_URL", "env WA_SESSIONS_DATABASE_URL_FILE", str(secrets / "database_url")),
        *("env DATABASE_URL", "env DATABASE_URL_FILE", "env PGUSER", "/etc/c"),
    )
    expected = [
        (f"postgresql://{value}" if value else "", origin)
        for place, value, origin in zip(DATABASES, values, origins, strict=True)
        if place in said
    ]
    assert (found and (found.raw, found.origin)) == (expected[0] if expected else None)


def test_a_variable_that_is_empty_is_not_set() -> None:
    environment = {"WA_SESSIONS_MAX_BAD_MAC": " ", "WA_SESSIONS_DATABASE_URL": "", "WA_SESSIONS_DATA_DIR": ""}
    configured = Configuration(environment, (_file("/etc/c", 7, None),))
    assert configured.value(MAX_BAD_MAC) == 7
    assert configured.find(table.DATA_DIR) is None
    assert configured.empty(DATABASE_URL) == ["WA_SESSIONS_DATABASE_URL"]


def test_of_handlers_one_counts() -> None:
    file = ConfigFile(Path("/etc/c"), {"on_message": "shop:take"}, {})
    configured = Configuration({"WA_SESSIONS_HANDLER_URL": "http://hook"}, (file,))
    assert [configured.value(one) for one in (table.ON_MESSAGE, table.HANDLER_URL)] == [None, "http://hook"]
    assert configured.value(table.HANDLER_TIMEOUT) == table.HANDLER_TIMEOUT.default


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_every_setting_can_be_written_where_it_can_be_read(setting: Setting[Any]) -> None:
    kind = setting.kind
    texts = [setting.example] if setting.example else []
    values = [setting.default] if setting.default not in (None, ()) else []
    for value in [*values, *map(kind.read, texts)]:
        assert kind.of_toml(kind.written(value)) == value
    assert values or texts
    assert setting.help.endswith(".")
    assert setting.flag is None or setting.flag.startswith("--")


def test_no_two_settings_share_a_name() -> None:
    for names in (
        [setting.variable for setting in SETTINGS.values()],
        [setting.flag for setting in SETTINGS.values() if setting.flag],
        [setting.name for section in table.SECTIONS.values() for setting in section],
    ):
        assert len(set(names)) == len(names)
    constants = {one.name for one in vars(table).values() if isinstance(one, Setting)}
    assert constants == set(SETTINGS)


def test_the_defaults_are_those_of_the_program() -> None:
    limits, run = Limits(), RunOptions(Limits())
    assert (table.MAX_BAD_MAC.default, table.MAX_BAD_DECRYPT.default) == (limits.bad_mac, limits.bad_decrypt)
    assert table.LIMIT_SCOPE.default == limits.scope
    assert table.LEASE.default.total_seconds() == run.lease == DEFAULT_LEASE
    assert table.HANDLER_ATTEMPTS.default == run.retry.attempts
    assert table.HANDLER_PAUSE.default.total_seconds() == run.retry.first_pause
    for field in fields(RunOptions):
        setting = SETTINGS.get(field.name)
        if setting is not None:
            default = getattr(run, field.name)
            assert default in (setting.default, getattr(setting.default, "total_seconds", lambda: None)())


@pytest.mark.parametrize("module", [kinds, masks, simple_toml])
def test_examples_in_docstrings(module: Any) -> None:
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)


PIECES = ["lease", "a-b", "=", '"', "'", '""', '"6s"', "5", "007", "-1", "1_000", "true", "#", "[", "]", "[t]", "[t.u]"]
PIECES += ["[[t]]", "{a=1}", '["a"]', ",", "\\", "\\n", "é", ".", " ", " = ", "\r\n", "\t", "\x00", "\ufeff", "\u2028"]
PIECES += ["\n"] * 4 + ["\xa0"]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=2), max_size=16).map("".join))
@example('a = "b" # "c"\n[t]\na = 1#2\nb=false\n')
@example('a = """b"""')
@example("a = 1\n[a]\n")
@example('a = ["b", "c" ]\nd = ["e"')
@example('a = ["b" # "]')
@example('a = ["b", "c", x"d"]')
@example("[t] # ]\n")
@example("a = 99999999999999999999")
def test_simple_toml_is_read_as_all_toml_or_left_to_what_reads_that(text: str) -> None:
    read = simple_toml.read(text)
    assert read is None or repr(read) == repr(tomllib.loads(text))


def test_a_file_of_settings_is_simple_toml() -> None:
    content = 'max_bad_mac = 5 # in a row\nlease = "6s"\nhandler_env = ["PG*", "TZ"]\n\n[test]\ndebug = true\n\n'
    assert simple_toml.read(content) == tomllib.loads(content)


@pytest.mark.bare
@pytest.mark.parametrize(("content", "needed"), [('lease = "6s"', False), ("lease = '6s'", True)])
def test_simple_toml_is_read_without_what_takes_long_to_import(tmp_path: Path, content: str, needed: bool) -> None:
    file = tmp_path / "config.toml"
    file.write_text(content)
    program = "import sys; from wa_sessions import config; print(config.current().files[0].values, *sys.modules)"
    environment = os.environ | {"WA_SESSIONS_CONFIG": str(file)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("{'lease': '6s'} ")
    assert ("tomllib" in done.stdout.split()) == needed


JUNK = st.text("@:/?#=& '\\%;,.", max_size=6)


@given(JUNK, JUNK)
@example("'", "")
@example("p@ss/w:", "?x=1")
def test_no_mask_lets_a_password_through(before: str, after: str) -> None:
    password = f"{before}{SECRET}{after}"
    assert SECRET not in masks.login(f"postgresql://ops:{password}@db:5432/shop?sslmode=require")
    assert SECRET not in masks.login(make_conninfo(host="db", user="ops", password=password))
    assert SECRET not in masks.login(f"postgresql:///shop?user=ops&password={SECRET}{after}")
    assert SECRET not in masks.receiver(f"https://ops:{password}@msg.example/in?key={password}")
    assert SECRET not in masks.hook(f"https://hooks.example/T0/{password}")
    assert SECRET not in masks.whole(password)


def test_what_holds_no_secret_is_shown_whole() -> None:
    for text in ("postgresql:///shop", "postgresql://ops@db:5432/shop?sslmode=require", "host=db user=ops", "embedded"):
        assert masks.login(text) == text
    assert masks.receiver("http://127.0.0.1:8000/in") == "http://127.0.0.1:8000/in"


def _judged(tmp_path: Path, content: str | bytes, mode: int = 0o600) -> list[str]:
    path = tmp_path / "config.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    [checked] = configuration.check(str(path))
    return [str(problem) for problem in checked.problems]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("max_bad_mc = 7", "max_bad_mc: there is no such setting: did you mean max_bad_mac?"),
        ("max-bad-decrypt = 7", "max-bad-decrypt: there is no such setting: did you mean max_bad_decrypt?"),
        ("WA_SESSIONS_LEASE = '5s'", "WA_SESSIONS_LEASE: there is no such setting: did you mean lease?"),
        ("on_message_url = 'http://x'", "on_message_url: there is no such setting: did you mean handler_url?"),
        ("frobnicate = 1", "frobnicate: there is no such setting; wa-sessions config show has them"),
        ("max_bad_mac = '7'", "max_bad_mac: it takes a number from 1 to 999, without quotes"),
        ("max_bad_mac = true", "max_bad_mac: it takes a number from 1 to 999, not true or false"),
        ("max_bad_mac = 7.5", "max_bad_mac: it takes a number from 1 to 999, not a number with a fraction"),
        ("max_bad_mac = 0", "max_bad_mac: '0' is not a number from 1 to 999"),
        ("max_bad_mac = [7]", "max_bad_mac: it takes a number from 1 to 999, not an array"),
        ("handler_timeout = 'soon'", "handler_timeout: 'soon' is no duration up to a day"),
        ("handler_timeout = 12:30:00", "handler_timeout: it takes a duration, as in 90s, 10m or 1h, not a time"),
        ("lease = '1s'", "lease: it takes 3s to 10m"),
        ("keep_history = '5h'", "keep_history: it takes a day or more"),
        ("limit_scope = 'world'", "limit_scope: 'world' is not one of account, sender"),
        ("metrics_listen = '9464'", "metrics_listen: '9464' is no address"),
        ("no_color = 1", "no_color: it takes true or false, not a number"),
        ("stop_command = ''", "stop_command: it takes text, not an empty text"),
        ("handler_env = ['PG*', 7.5]", "handler_env: it takes text, or an array of texts, not an array"),
        ("database_url = 'mysql://h/d'", "database_url: it is a mysql:// URL, not a postgresql:// one"),
        ("[prod]\nlese = '5s'", "prod.lese: there is no such setting: did you mean lease?"),
        ("[prod]\nlease = 'x'", "prod.lease: 'x' is no duration up to a day"),
        ("[prod.database]\nurl = 'x'", "prod.database: a profile has no tables"),
        ("[[prod]]\nlease = '5s'", "prod: a profile is one table: write [prod]"),
        ("[database_url]\nurl = 'x'", "database_url: it takes text, not a table"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, line: str, words: str) -> None:
    [problem] = _judged(tmp_path, line)
    assert problem.startswith(words)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "# nothing\n",
        b"\xef\xbb\xbfmax_bad_mac = 7\n",
        "max_bad_mac = 7\r\n[prod]\r\nlease = '9s'\r\n",
        "[profiles.prod]\nlease = '9s'\n",
        "database_url = 'embedded'",
        "handler_timeout = 30",
        "alert_telegram_chat = -100123",
        "alert_telegram_chat = [-100123, '7']",
        "handler_env = 'PG* TZ'",
    ],
)
def test_what_is_right(tmp_path: Path, content: str | bytes) -> None:
    assert _judged(tmp_path, content) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"max_bad_mac 7\n", r"is no TOML: .*at line 1, column"),
        (b"max_bad_mac = 7\nmax_bad_mac = 8\n", r"is no TOML: .*line 2"),
        (b"a = " + b"[" * 20_000, "is no TOML: too many brackets in one another"),
        ("max_bad_mac = 7".encode("utf-16"), "is UTF-16: save it as UTF-8"),
        (b"stop_command = '\xff'", "is no UTF-8 text"),
        (b"\x00" * 9, "is no TOML"),
        (b"#" * (files.LARGEST + 1), "is it the right file?"),
    ],
)
def test_what_is_no_config_file_is_told_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        _judged(tmp_path, content)
    assert "\n" not in str(error.value)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (tmp_path, "Is a directory"),
        (tmp_path / "pipe", "no program writes"),
        (tmp_path / "x", "No such"),
    ):
        with pytest.raises(UsageError, match=words):
            configuration.check(str(path))


@pytest.mark.parametrize(
    "line",
    [
        f"database_url = 'postgresql://ops:{SECRET}@db/shop'",
        f"database_url = 'host=db password={SECRET}'",
        f"handler_secret = '{SECRET}'",
        f"alert_webhook_url = ['https://hooks.example/{SECRET}']",
        f"[prod]\nalert_telegram_token = '{SECRET}'",
    ],
)
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, line: str) -> None:
    assert _judged(tmp_path, line) == []
    assert _judged(tmp_path, line, 0o640) == []
    [problem] = _judged(tmp_path, line, 0o644)
    assert "every user of this machine can read it (mode 0644): chmod 600" in problem
    assert SECRET not in problem


def test_a_file_without_a_secret_may_be_read_by_all_but_not_written(tmp_path: Path) -> None:
    line = "database_url = 'postgresql:///shop'\nmax_bad_mac = 7"
    assert _judged(tmp_path, line, 0o644) == []
    [problem] = _judged(tmp_path, line, 0o666)
    assert "every user of this machine can write to it" in problem


def test_the_example_is_right_as_it_is_and_with_every_setting(tmp_path: Path) -> None:
    text = configuration.example()
    assert _judged(tmp_path, text, 0o644) == []
    assert files.read(tmp_path / "config.toml").values == {}
    whole = re.sub(r"^#(?=\w+ = |\[)", "", text, flags=re.MULTILINE)
    assert _judged(tmp_path, whole) == []
    assert files.read(tmp_path / "config.toml").values.keys() == SETTINGS.keys()


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ([], []),
        (["-P"], []),
        (["--version"], ["--version"]),
        (["-Pprod", "--config", "-P", "check", "-P"], ["check", "-P"]),
        (["--profile=prod", "check"], ["check"]),
    ],
)
def test_the_command_behind_shared_options(words: list[str], left: list[str]) -> None:
    assert words_of_command(words) == left


def _reads(module: Path, words: re.Pattern[str]) -> bool:
    """In its code, and not in words about it."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg}
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    return any(words.fullmatch(name) for name in attributes | arguments | imported)


def test_three_modules_read_the_environment() -> None:
    words = re.compile(r"\b(environb?|getenv|envvar)\b")
    modules = [path for path in sorted(ROOT.rglob("*.py")) if "emulator" not in path.relative_to(ROOT).parts]
    readers = [path for path in modules if words.search(path.read_text("utf-8")) and _reads(path, words)]
    assert [str(path.relative_to(ROOT)) for path in readers] == [
        "cli/__init__.py",
        "cli/terminal.py",
        "config/reading.py",
    ]


@pytest.mark.bare
def test_nothing_of_toml_is_imported_where_there_is_no_file() -> None:
    import subprocess
    import sys

    program = "import sys; from wa_sessions import config; config.current(); print('tomllib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert config.current().files == ()
