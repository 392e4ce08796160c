"""Imports point one way: proto <- policy <- node, broker <- deploy; node and broker are strangers."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MAY_IMPORT: dict[str, set[str]] = {
    "proto": set(),
    "policy": {"proto"},
    "node": {"proto", "policy"},
    "broker": {"proto", "policy"},
    "deploy": {"proto", "policy", "node", "broker", "bench"},
    "bench": {"proto", "policy", "node", "broker", "deploy"},
}
# `bekend bench` is a group of the one command, which loads it on use; no other module of deploy needs it.
LOADS_BENCH = {"deploy/bekend_deploy/cli.py"}


def modules(room: str) -> list[Path]:
    """Every Python file of a room, scripts beside its package included, generated stubs too."""
    return sorted(path for path in (ROOT / room).rglob("*.py") if "__pycache__" not in path.parts)


def imported_rooms(source: str) -> Iterator[str]:
    """The rooms that a module imports, wherever in it and also by a dotted name in a string."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            # importlib.import_module("bekend_node.cli") and the like.
            names = [node.value.split(":")[0]]
        for name in names:
            package, _, rest = name.partition(".")
            if package.startswith("bekend_") and (rest.isidentifier() or "." in rest or name == package):
                yield package.removeprefix("bekend_")


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room: str) -> None:
    wrong = []
    for path in modules(room):
        relative = path.relative_to(ROOT).as_posix()
        for other in set(imported_rooms(path.read_text())) & MAY_IMPORT.keys():
            allowed = other == room or other in MAY_IMPORT[room]
            if not allowed or (other == "bench" and room == "deploy" and relative not in LOADS_BENCH):
                wrong.append(f"{relative} imports {other}")
    assert wrong == []


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_no_shipped_module_imports_tests(room: str) -> None:
    for path in modules(room):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.split(".")[0] == "tests" for name in names), path


def test_every_package_of_the_tree_is_known_here() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/bekend_*") if path.is_dir() and path.parent.name != "tests"}
    assert packages == set(MAY_IMPORT)


def test_the_check_sees_every_form_of_import() -> None:
    source = """
import bekend_node.app as app
def late():
    from bekend_broker import register
    import_module("bekend_deploy.cli:app")
    return "bekend node serve", "bekend_grpc_requests"
"""
    assert set(imported_rooms(source)) & MAY_IMPORT.keys() == {"node", "broker", "deploy"}
