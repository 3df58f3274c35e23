"""The notebooks of the docs run from start to end, and show what they showed when their outputs were written."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

from jupyter_client import KernelManager

import notebooks

NAMES = sorted(path.stem for path in notebooks.FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def kernel():
    """One process for all: what a notebook takes to import is imported once."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=os.environ | {"OMP_NUM_THREADS": "1"}, cwd=str(notebooks.FOLDER))
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.mark.slow
@pytest.mark.xdist_group("notebooks")
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_shows_what_it_showed(name, kernel):
    written = notebooks.read(notebooks.FOLDER / f"{name}.ipynb")
    code = [cell for cell in written.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "python tools/notebooks.py"
    again = notebooks.read(notebooks.FOLDER / f"{name}.ipynb")
    forget = notebooks.nbformat.v4.new_code_cell("%reset -f")
    again.cells.insert(0, forget)
    notebooks.run(again, kernel=kernel)
    assert notebooks.shown(again)[1:] == notebooks.shown(written)


def test_the_site_lists_every_notebook():
    listed = (notebooks.FOLDER.parents[1] / "mkdocs.yml").read_text(encoding="utf-8")
    assert len(NAMES) == 3
    assert all(f"notebooks/{name}.ipynb" in listed for name in NAMES)
