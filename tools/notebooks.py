"""Runs the notebooks of docs/notebooks and writes what they show into them.

    python tools/notebooks.py [NAME ...]

Each runs in a fresh process. One that fails is left as it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "notebooks"
CELL_SECONDS = 120


def read(path: Path) -> Any:
    """Return a notebook."""
    return nbformat.read(path, as_version=4)


def run(notebook: Any, *, kernel: Any = None) -> Any:
    """Run every cell and return the notebook with what the cells showed.

    Args:
        notebook: changed in place.
        kernel: a jupyter_client.KernelManager whose process is used and goes on; a new process where it is None.
    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised, with its code and traceback.
    """
    client = NotebookClient(
        notebook,
        km=kernel,
        kernel_name="python3",
        timeout=CELL_SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    try:
        return client.execute()
    finally:
        if kernel is not None and client.kc is not None:
            client.kc.stop_channels()


def shown(notebook: Any) -> list[list[str]]:
    """Return the kinds of what each code cell shows: MIME types, the name of a stream."""
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return [[kind for output in cell.outputs for kind in _kinds(output)] for cell in cells]


def _kinds(output: Any) -> list[str]:
    return [output.name] if output.output_type == "stream" else sorted(output.get("data", {}))


def main() -> None:
    """Run the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description="Runs notebooks of docs/notebooks and writes their outputs.")
    parser.add_argument("names", nargs="*", help="such as first-distillation; all where none is named")
    names = parser.parse_args().names or sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    for name in names:
        path = FOLDER / f"{name}.ipynb"
        notebook = run(read(path))
        text = nbformat.writes(notebook, indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {len(notebook.cells)} cells")


if __name__ == "__main__":
    main()
