"""The demo's notebooks: clean files that run unsolved, and exercises that can be solved.

`solutions/<course>/<notebook>.toml` holds, by cell id, a solution of every exercise and near misses:
answers a student might well give, which the check must not accept.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import coursewarehub.demo

CONTENT = Path(coursewarehub.demo.__file__).parent / "site" / "content"
SOLUTIONS = Path(__file__).parent / "solutions"
NOTEBOOKS = sorted(str(path.relative_to(CONTENT).with_suffix("")) for path in CONTENT.glob("*/*.ipynb"))
EXPECTED = 8

every_notebook = pytest.mark.parametrize("name", NOTEBOOKS)


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """A student's copy of both courses: running a notebook must not touch the package."""
    return Path(shutil.copytree(CONTENT, tmp_path / "content"))


def read(name: str) -> Any:
    return nbformat.read(CONTENT / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


def answers(name: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the solution and the near misses of every exercise of a notebook."""
    data = tomllib.loads((SOLUTIONS / f"{name}.toml").read_text(encoding="utf-8"))
    return data["solution"], data["near_misses"]


def code_ids(notebook: Any, prefix: str) -> list[str]:
    return [cell.id for cell in notebook.cells if cell.cell_type == "code" and cell.id.startswith(prefix)]


def check_of(exercise: str) -> str:
    return "check-" + exercise.removeprefix("exercise-")


def run(notebook: Any, folder: Path) -> dict[str, Any]:
    """Run all cells in a new kernel, as *Run All Cells* does; return them by id. An error raises."""
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources=resources).execute()
    return {cell.id: cell for cell in notebook.cells}


def verdict(cell: Any) -> str:
    """Return the one line in which a check says `Done` or `Not yet:` and why."""
    text = "".join(output.get("text", "") for output in cell.outputs)
    lines = [line for line in text.splitlines() if re.match(r"Done\b|Not yet: \S", line)]
    assert len(lines) == 1, f"{cell.id} printed {text!r}"
    return lines[0]


def warnings_in(cells: dict[str, Any]) -> list[str]:
    outputs = [output for cell in cells.values() for output in cell.get("outputs", ())]
    return [output.text for output in outputs if output.get("name") == "stderr" and "Warning" in output.text]


def test_every_notebook_has_its_answers() -> None:
    solved = sorted(str(path.relative_to(SOLUTIONS).with_suffix("")) for path in SOLUTIONS.glob("*/*.toml"))
    assert solved == NOTEBOOKS
    assert len(NOTEBOOKS) == EXPECTED


@every_notebook
def test_the_file_is_clean(name: str) -> None:
    text = (CONTENT / f"{name}.ipynb").read_text(encoding="utf-8")
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z][a-z0-9-]+", cell_id) for cell_id in ids)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    folded = {"jupyter": {"source_hidden": True}}  # a check would give its answer away
    checks = code_ids(notebook, "check-")
    assert all(cell.metadata == (folded if cell.id in checks else {}) for cell in notebook.cells)
    assert text.endswith("}\n")
    assert text.startswith('{\n "cells": [\n  {\n')
    assert not re.search(r"(?<!\\)\\u[0-9a-f]{4}", text), "text is written as it is read, not escaped"


@every_notebook
def test_the_prose_keeps_its_promises(name: str) -> None:
    notebook = read(name)
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert prose[0].startswith("# ")
    minutes = re.search(r"About (\d+) minutes", prose[0])
    assert minutes is not None
    assert 25 <= int(minutes[1]) <= 45
    assert prose[-1].startswith("## What you learned")
    folder = (CONTENT / name).parent
    links = re.findall(r"\]\(([^)#]+)\)", "\n".join(prose))
    missing = [link for link in links if "://" not in link and not (folder / link).is_file()]
    assert missing == []


@every_notebook
def test_every_exercise_has_a_check_a_solution_and_near_misses(name: str) -> None:
    notebook = read(name)
    solutions, near_misses = answers(name)
    exercises = code_ids(notebook, "exercise-")
    assert 3 <= len(exercises) <= 5
    assert code_ids(notebook, "check-") == [check_of(exercise) for exercise in exercises]
    assert list(solutions) == exercises
    assert list(near_misses) == exercises
    assert all(near_misses.values())
    shipped = {cell.source.strip() for cell in notebook.cells}
    assert shipped.isdisjoint(text.strip() for text in solutions.values())


@pytest.mark.slow
@every_notebook
def test_unsolved_it_runs_to_the_end_and_every_check_says_not_yet(name: str, content: Path) -> None:
    notebook = read(name)
    cells = run(notebook, (content / name).parent)
    verdicts = {check: verdict(cells[check]) for check in code_ids(notebook, "check-")}
    assert {check: said for check, said in verdicts.items() if not said.startswith("Not yet")} == {}
    assert warnings_in(cells) == []
    if name.startswith("queueing-simulation/"):
        outputs = [output for cell in cells.values() for output in cell.get("outputs", ())]
        assert sum("image/png" in output.get("data", ()) for output in outputs) >= 3


@pytest.mark.slow
@every_notebook
def test_solutions_are_accepted_and_near_misses_are_not(name: str, content: Path) -> None:
    solutions, near_misses = answers(name)
    notebook = read(name)
    sources = {cell.id: cell.source for cell in notebook.cells}
    checks, wrong, cells = code_ids(notebook, "check-"), [], []
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.id in solutions:
            for number, text in enumerate(near_misses[cell.id], start=1):
                wrong.append(f"near-miss-{number}-of-{cell.id}")
                cells.append(nbformat.v4.new_code_cell(text))
                cells.append(nbformat.v4.new_code_cell(sources[check_of(cell.id)], id=wrong[-1]))
            cell.source = solutions[cell.id]
        cells.append(cell)
    notebook.cells = cells
    ran = run(notebook, (content / name).parent)
    said = {cell_id: verdict(ran[cell_id]) for cell_id in [*checks, *wrong]}
    assert {check: said[check] for check in checks if not said[check].startswith("Done")} == {}
    assert {miss: said[miss] for miss in wrong if not said[miss].startswith("Not yet")} == {}
