"""Make docs/demo.txt and docs/demo.svg: what ``wa-sessions demo`` prints, at 80 columns.

python scripts/demo_picture.py [FOLDER]
"""

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 80
STYLES = (
    (r"^\$ .*|^\S.*", "bold"),
    (r"^ +[\d.]+ s  ", "dim"),
    (r"\bAlice\b", "cyan"),
    (r"\bBob\b", "magenta"),
    (r"Bad \w+ error #\d+|\blost after\b|session closed: [^.]*", "red"),
    (r"\brecovered\b|\breceived:|\bconnected as\b|\bok\b", "green"),
    (r"\bquarantined\b|\bforce-closed\b", "yellow"),
    (r"wa-sessions restore\s+op-[0-9]{8}-[0-9a-z]{6}", "bold blue"),
)


def main() -> int:
    """Run the demo that is installed beside this Python; nothing is written if it fails."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs"
    done = subprocess.run(
        [Path(sys.executable).with_name("wa-sessions"), "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
        return done.returncode
    text = "$ wa-sessions demo\n" + re.sub(r"(force-closed by) \S+@\S+:", r"\1 ops@msg1:", done.stdout)
    (folder / "demo.txt").write_text(text, encoding="utf-8")
    (folder / "demo.svg").write_text(drawn(text), encoding="utf-8")
    return 0


def drawn(text: str) -> str:
    """The text as a picture of a terminal."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    shown = Text(text)
    for pattern, style in STYLES:
        for match in re.finditer(pattern, text, re.MULTILINE):
            shown.stylize(style, *match.span())
    console.print(shown, overflow="ignore", no_wrap=True, crop=False)
    return console.export_svg(title="wa-sessions demo", unique_id="demo")


if __name__ == "__main__":
    sys.exit(main())
