"""Write requirements-dev.lock: everything that development installs, in one version each, with hashes.

    make lock

Resolved for the Python that runs this (3.11, the oldest that is supported) by pip-tools, from pyproject.toml.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements-dev.lock"
HEADER = """\
# What `make lock` resolved for Python 3.11, with the hashes of all files. To install exactly this, then the package:
#   pip install --require-hashes -r requirements-dev.lock && pip install --no-deps --editable .
"""


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    wanted += [one for name, names in extras.items() if name != "all" for one in names]
    with tempfile.TemporaryDirectory() as folder:
        source, found = Path(folder, "dev.in"), Path(folder, "dev.lock")
        source.write_text("\n".join(wanted) + "\n", encoding="utf-8")
        options = ["--generate-hashes", "--strip-extras", "--no-header", "--no-annotate", "--allow-unsafe", "--quiet"]
        options += ["--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links"]
        command = [sys.executable, "-m", "piptools", "compile", *options, "--output-file", str(found), str(source)]
        subprocess.run(command, check=True)
        LOCK.write_text(HEADER + found.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main()
