"""Imports point one way: actors → supervisors → runtime. Read from the sources, import by import."""

import shutil
import subprocess
import sys
from collections.abc import Container, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.project.import_reader import LAYERS, ROOT, imports_of, sources

FOLDERS = [ROOT / layer for layer in LAYERS]
EVERYTHING = [*FOLDERS, ROOT / "src/resprout", *(ROOT / name for name in ("examples", "benchmarks", "tests"))]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_itself_and_the_layers_below(layer: str) -> None:
    assert wrong_way_imports(ROOT, layer) == []


def test_nothing_is_imported_by_its_bare_folder_name() -> None:
    assert [
        f"{path.relative_to(ROOT)}:{found.line} imports {found.dotted}"
        for folder in EVERYTHING
        for path in sorted(folder.rglob("*.py"))
        for found in imports_of(path)
        if found.module.startswith(".") or found.module.split(".")[0] in LAYERS
    ] == []


@pytest.mark.parametrize("layer", LAYERS)
def test_the_modules_of_a_layer_do_not_import_in_circles(layer: str) -> None:
    modules = sources(ROOT / layer)
    assert circle_in({name: loaded_by(path, modules) for name, path in modules.items()}) is None


def test_the_packages_of_actors_do_not_import_in_circles() -> None:
    modules = sources(ROOT / "actors")
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        used = {part_of_actors(found.dotted) for found in imports_of(path)}
        graph.setdefault(part_of_actors(name), set()).update(used - {"", part_of_actors(name)})
    assert circle_in(graph) is None


@pytest.mark.parametrize("upto", [1, 2])
def test_a_layer_is_complete_without_the_layers_above(tmp_path: Path, upto: int) -> None:
    package = tmp_path / "resprout"
    package.mkdir()
    (package / "__init__.py").touch()
    for layer in LAYERS[:upto]:
        shutil.copytree(ROOT / layer, package / layer)
    names = [name for layer in LAYERS[:upto] for name in sources(ROOT / layer)]
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + "\n".join(
        f"import {name}" for name in names
    )
    alone = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert alone.returncode == 0, alone.stderr


def test_a_wrong_import_is_found_wherever_it_hides(tmp_path: Path) -> None:
    layer = tmp_path / "runtime"
    layer.mkdir()
    (layer / "open.py").write_text("from resprout.runtime import ref\nimport trio\n")
    (layer / "late.py").write_text("def f():\n    import resprout.actors.redis as r\n")
    (layer / "typed.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from resprout import supervisors\n"
    )
    (layer / "dynamic.py").write_text("import importlib\nimportlib.import_module('resprout.actors')\n")
    (layer / "facade.py").write_text("from resprout import Actor\n")
    found = wrong_way_imports(tmp_path, "runtime")
    assert {line.split(":")[0] for line in found} == {
        "runtime/late.py",
        "runtime/typed.py",
        "runtime/dynamic.py",
        "runtime/facade.py",
    }


def wrong_way_imports(root: Path, layer: str) -> list[str]:
    allowed = [f"resprout.{below}" for below in LAYERS[: LAYERS.index(layer) + 1]]
    return [
        f"{path.relative_to(root)}:{found.line} imports {found.dotted}"
        for path in sources(root / layer).values()
        for found in imports_of(path)
        if found.dotted.split(".")[0] == "resprout" and ".".join(found.dotted.split(".")[:2]) not in allowed
    ]


def loaded_by(path: Path, modules: Container[str]) -> set[str]:
    """Those of *modules* that this one needs to run. Imports for the type checker alone may be mutual."""
    found = {each.among(modules) for each in imports_of(path) if not each.typing_only}
    return {module for module in found if module in modules}


def part_of_actors(module: str) -> str:
    """`resprout.actors.redis.link` belongs to the part `redis`; what is no actor at all, to ``""``."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["resprout", "actors"] and len(parts) > 2 else ""


def circle_in(graph: Mapping[str, set[str]]) -> list[str] | None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return None
