"""Commands as they find the settings: files in their order, profiles, what is typed, and what is wrong."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wa_sessions import cli
from wa_sessions.config import reading, table
from wa_sessions.worker.delivery.spec import HandlerSpec

SECRET = "geheim"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's config file, and no file of the machine."""
    monkeypatch.delenv(reading.FILE_VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(reading, "SYSTEM_FILE", tmp_path / "etc" / "config.toml")
    file = tmp_path / "home" / "wa-sessions" / "config.toml"
    file.parent.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    return file


def _show(capsys: Capture, *words: str) -> dict[str, tuple[Any, str]]:
    assert cli.execute([*words, "config", "show", "--json"]) == 0
    return {row["name"]: (row["value"], row["origin"]) for row in json.loads(capsys.readouterr().out)}


def test_files_are_read_in_their_order(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    named, system = home.with_name("named.toml"), reading.SYSTEM_FILE
    named.write_text("max_bad_mac = 7\n")
    home.write_text("max_bad_mac = 8\nmax_bad_decrypt = 8\n[prod]\nlease = '8s'\n")
    system.write_text("max_bad_mac = 9\nmax_bad_decrypt = 9\nhandlers = 9\nlease = '9s'\n[prod]\nhandlers = 10\n")
    shown = _show(capsys)
    assert [shown[name] for name in ("max_bad_mac", "max_bad_decrypt", "handlers", "lease")] == [
        (8, str(home)),
        (8, str(home)),
        (9, str(system)),
        ("9s", str(system)),
    ]
    monkeypatch.setenv(reading.FILE_VARIABLE, str(named))
    assert _show(capsys)["max_bad_mac"] == (7, str(named))
    assert _show(capsys, "--config", str(system))["max_bad_mac"] == (9, str(system))
    assert _show(capsys, "-P", "prod")["handlers"] == (10, str(system))
    monkeypatch.setenv(reading.PROFILE_VARIABLE, "prod")
    assert _show(capsys)["lease"] == ("8s", str(home))
    monkeypatch.setenv("WA_SESSIONS_LEASE", "7s")
    assert _show(capsys)["lease"] == ("7s", "env WA_SESSIONS_LEASE")


def test_no_file_is_read_where_the_null_device_is_named(home: Path, capsys: Capture) -> None:
    home.write_text("max_bad_mac = ")
    assert cli.execute(["config", "show"]) == 2
    assert "is no TOML" in capsys.readouterr().err
    assert _show(capsys, "--config", os.devnull)["max_bad_mac"] == (3, "default")


def test_options_are_filled_with_what_is_configured(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    home.write_text("lease = '1h'\n")
    assert cli.execute(["run", "--no-wait"]) == 2
    assert capsys.readouterr().err == f"wa-sessions: {home}: lease: {table.LEASE.kind.because}\n"  # type: ignore[attr-defined]
    home.write_text("metrics_listen = '127.0.0.1:1'\nstop_command = 'true'\n")
    assert cli.execute(["clean-sessions", "77051234567"]) == 2
    assert "--start-command is missing" in capsys.readouterr().err
    assert cli.execute(["clean-sessions", "--help"]) == 0
    home.write_text("broken")
    assert cli.execute(["clean-sessions", "--help"]) == 0
    assert cli.execute(["config", "example"]) == 0
    assert cli.execute(["--version"]) == 0


def test_a_handler_that_is_typed_goes_before_one_that_is_configured(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    home.write_text("on_message = 'shop:take'\n")
    seen: list[Any] = []
    monkeypatch.setattr(
        "wa_sessions.actions.sessions.run.run", lambda _opened, _refs, _org, options: seen.append(options)
    )
    monkeypatch.setattr("wa_sessions.cli.terminal.opened", lambda *_args, **_more: home.open())
    assert cli.execute(["run"]) == 0
    assert cli.execute(["run", "--on-message-exec", "cat"]) == 0
    monkeypatch.setenv("WA_SESSIONS_HANDLER_URL", "http://hook")
    assert cli.execute(["run"]) == 0
    assert [(one.function, one.command, one.url) for one in seen] == [
        ("shop:take", None, None),
        (None, "cat", None),
        (None, None, "http://hook"),
    ]


def test_a_warning_is_said_once(home: Path, capsys: Capture) -> None:
    home.write_text(f"database_url = 'postgresql://ops:{SECRET}@db/shop'\n")
    home.chmod(0o644)
    assert cli.execute(["config", "show"]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("every user of this machine can read it") == 1
    assert SECRET not in shown.out + shown.err
    assert "postgresql://ops:***@db/shop" in shown.out


@contextlib.contextmanager
def _as_another_user() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_this_user_may_not_read_stops_every_command(
    home: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Whoever finds himself in a home that he may not enter (``su`` without ``-``) has no file there."""
    theirs, system = open_folder / "theirs" / "wa-sessions" / "config.toml", open_folder / "etc" / "config.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(theirs.parents[1]))
    monkeypatch.setattr(reading, "SYSTEM_FILE", system)
    for file in (theirs, system):
        file.parent.mkdir(parents=True)
        file.write_text("max_bad_mac = 7")
        file.chmod(0)
        with _as_another_user():
            assert cli.execute(["config", "show"]) == 2
        assert f"cannot read the config file {file}: Permission denied" in capsys.readouterr().err
        file.parent.chmod(0)
        with _as_another_user():
            assert cli.execute(["config", "show"]) == (2 if file is system else 0)
            assert cli.execute(["config", "show", "--config", os.devnull]) == 0
        file.parent.chmod(0o755)
        file.unlink()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-P", "prd", "sessions"], "there is no profile 'prd' in {home}: did you mean prod?"),
        (["-Pzz", "sessions"], "there is no profile 'zz' in {home}: there are prod, test"),
        (["sessions", "--profile", ""], "it is empty"),
        (["config", "show", "prod"], "prod is a profile: wa-sessions -P prod config show"),
        (["config", "show", "max_bad"], "there is no setting 'max_bad': did you mean max_bad_mac?"),
        (["config", "prod"], "No such command 'prod'"),
        (["config", "get", "lease"], "Did you mean 'wa-sessions config show'?"),
        (["config", "validate"], "Did you mean 'wa-sessions config check'?"),
        (["config", "set", "lease", "5s"], "No such command 'set': edit {home} or "),
        (["config", "show", "--lease", "soon"], "--lease: 'soon' is no duration"),
        (["--config", "/nowhere/c.toml", "sessions"], "cannot read the config file /nowhere/c.toml: No such file"),
        (["settings"], "Did you mean 'wa-sessions config show'?"),
        (["-P"], "requires an argument"),
    ],
)
def test_what_an_operator_may_type_first(home: Path, words: list[str], told: str, capsys: Capture) -> None:
    home.write_text("[prod]\nlease = '9s'\n[test]\nlease = '8s'\n")
    assert cli.execute(words) == 2
    err = capsys.readouterr().err
    assert told.format(home=home) in err
    assert err.startswith("wa-sessions: ")


def test_a_profile_that_another_database_would_hide_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    home.write_text("[prod]\ndatabase_url = 'postgresql:///prod'\n")
    for name, value in (("DATABASE_URL", "postgresql:///dev"), ("PGUSER", "ops")):
        monkeypatch.setenv(name, value)
        assert cli.execute(["-P", "prod", "sessions"]) == 2
        assert f"the profile prod names a database, and {name} another" in capsys.readouterr().err
        monkeypatch.delenv(name)


def test_what_is_asked_for_a_handler_may_stand_in_a_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write_text(f"handler_secret = '{SECRET}'\ndatabase_url = 'postgresql://ops:{SECRET}@db/shop'\n")
    assert SECRET not in str(HandlerSpec(command="cat").variables().values())
    asked = HandlerSpec(command="cat", environment=("WA_SESSIONS_DATABASE_URL",)).variables()
    assert asked["WA_SESSIONS_DATABASE_URL"] == f"postgresql://ops:{SECRET}@db/shop"
    assert HandlerSpec(url="http://hook").variables()["WA_SESSIONS_HANDLER_SECRET"] == SECRET
    monkeypatch.setenv("WA_SESSIONS_HANDLER_SECRET", "other")
    assert HandlerSpec(url="http://hook").variables()["WA_SESSIONS_HANDLER_SECRET"] == "other"
