"""Write ``requirements.hashed.txt``: what limbeck needs, pinned as in ``constraints.txt``, with every file's SHA-256.

Torch is left out: each of its builds (CPU, CUDA, ROCm) comes from an index of its own and has other hashes. pip-tools
asks the index for the hashes of all files of a release, so that the list holds for every platform: ``make hashes``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "requirements.hashed.txt"
HEADER = """\
# What `pip install limbeck` needs, but torch, pinned as in constraints.txt, with the SHA-256 of each release's files.
#   pip install torch==VERSION_OF_CONSTRAINTS_TXT          (the build for your machine)
#   pip install --require-hashes --no-deps --requirement requirements.hashed.txt
#   pip install --no-deps limbeck
# Written by `make hashes`.
"""


def cleaned(text: str) -> str:
    """Return what pip-tools wrote without its remarks, under our own header.

    Example:
        >>> cleaned("a==1 \\\\\\n    --hash=sha256:00\\n\\n# WARNING: x\\n").removeprefix(HEADER)
        'a==1 \\\\\\n    --hash=sha256:00\\n'
    """
    lines = [line for line in text.splitlines() if re.match(r"[A-Za-z0-9]|    --hash", line)]
    return HEADER + "".join(f"{line}\n" for line in lines)


def main() -> int:
    """Ask the index, and write the file."""
    quiet = ["--quiet", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    choice = ["--generate-hashes", "--strip-extras", "--unsafe-package", "torch", "--constraint", "constraints.txt"]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "hashed.txt"
        command = [
            sys.executable,
            "-m",
            "piptools",
            "compile",
            *choice,
            *quiet,
            "--output-file",
            output,
            "pyproject.toml",
        ]
        subprocess.run(command, cwd=ROOT, check=True)
        TARGET.write_text(cleaned(output.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
