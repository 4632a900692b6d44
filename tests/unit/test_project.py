"""What a release and a newcomer rely on: one version, a lock that is whole, decisions that are numbered."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement)[0]).lower()


def test_the_changelog_begins_with_this_version() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    version = PROJECT["project"]["version"]
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(version)} \(\d+ \w+ \d{{4}}, tag v{re.escape(version)}\)", headings[1])


def test_the_lock_has_all_that_is_asked_for_with_hashes_and_no_address() -> None:
    extras = [
        one for name, names in PROJECT["project"]["optional-dependencies"].items() if name != "all" for one in names
    ]
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"], *extras]
    locked = {_name(line) for line in re.findall(r"^\S+==\S+ \\$", LOCK, re.MULTILINE)}
    assert {_name(one) for one in asked} <= locked, "run: make lock"
    assert len(locked) <= LOCK.count("--hash=sha256:")
    assert "://" not in LOCK


def test_decisions_are_numbered_and_told_of() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(page.name[:4])}. ")
        assert all(f"\n## {part}\n" in text for part in ("Context", "Decision", "Consequences", "Considered"))
        assert f"adr/{page.name}" in architecture


def test_modules_that_the_architecture_names_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*/(?:[a-z_]+\.py)?)`", text))
    assert len(named) > 20
    assert [one for one in named if not any((ROOT / top / one).exists() for top in ("wa_sessions", "."))] == []
