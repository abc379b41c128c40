"""The house: what an import loads, who may import whom, how long things are, what is public."""

from __future__ import annotations

import ast
import importlib
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import REPOSITORY

PACKAGE = REPOSITORY / "llmwatch"
LIGHT = {"llmwatch", "wrapt", "opentelemetry", "typing_extensions"}
CORE = {"llmwatch", "wrapt", "opentelemetry", "prometheus_client", "pydantic", "pydantic_core", "genai_prices"}
# The edges that may import more, always inside functions or in modules that nothing else loads.
EDGES = {
    "demo": {"openai", "anthropic", "httpx", "httpx2", "rich", "starlette", "uvicorn", "fastapi"},
    "cli": {"rich"},
    "ops": {"grafana_foundation_sdk"},
    "simulate": {"starlette", "uvicorn"},
    "testing": {"pytest"},
}


def dotted(path: Path) -> str:
    name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {dotted(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}
PUBLIC = [name for name in MODULES if name.count(".") < 2 and "._" not in name]  # what packages hold is their affair

each_module = pytest.mark.parametrize("name", MODULES)
each_public_module = pytest.mark.parametrize("name", PUBLIC)


def modules_loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter loads with the statement, beyond those it begins with."""
    program = f"import sys; before = set(sys.modules)\n{statement}\nprint(*set(sys.modules) - before)"
    run = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_llmwatch_loads_nothing_of_it_but_its_names():
    loaded = modules_loaded_by("import llmwatch")
    assert {name for name in loaded if name.startswith("llmwatch")} == {"llmwatch", "llmwatch._version"}
    assert not {"typing", "dataclasses", "logging", "inspect", "opentelemetry"} & loaded


def test_the_public_names_load_no_sdk_exporter_model_library_price_table_or_vendor():
    loaded = modules_loaded_by("from llmwatch import *")
    foreign = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - LIGHT
    heavy = {name for name in loaded if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))}
    assert "llmwatch" in loaded
    assert not foreign
    assert not heavy


def imports(tree: ast.Module) -> Iterator[str]:
    """Every absolute name that is imported, lazily too, and by `import_module` with a literal."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), level=0, names=names):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield module


@each_module
def test_a_module_imports_nothing_beyond_the_standard_library_the_dependencies_and_what_its_edge_may(name: str):
    edge = name.partition(".")[2].partition(".")[0]
    found = {imported.partition(".")[0] for imported in imports(TREES[name])}
    assert found - sys.stdlib_module_names <= CORE | EDGES.get(edge, set())


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(("llmwatch.demo", "llmwatch.cli"))])
def test_a_module_takes_nothing_from_the_public_package_above_it(name: str):
    """The layers cannot see that cycle, for the package's `__init__` is in none; only the commands are its users."""
    ours = [imported for imported in imports(TREES[name]) if imported.partition(".")[0] == "llmwatch"]
    assert [imported for imported in ours if ".".join(imported.split(".")[:2]) not in {*MODULES} - {"llmwatch"}] == []


def test_arrows_point_down_only():
    lint = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [lint, "--no-cache", "--no-logo"],
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@each_module
def test_a_module_opens_with_a_sentence_that_says_what_it_is(name: str):
    first_line = (ast.get_docstring(TREES[name]) or "").partition("\n")[0]
    assert first_line.endswith((".", ":"))


@each_module
def test_a_module_is_under_300_lines(name: str):
    assert len(MODULES[name].read_text("utf-8").splitlines()) < 300


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, functions inside it included, without the docstring."""
    lines = range(function.lineno, (function.end_lineno or 0) + 1)
    if ast.get_docstring(function) is None:
        return len(lines)
    doc = function.body[0]
    return len(lines) - len(range(doc.lineno, (doc.end_lineno or 0) + 1))


def test_functions_are_short():
    lengths = {
        f"{name}:{node.lineno} {node.name}": length(node)
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {place: lines for place, lines in lengths.items() if lines > 40} == {}
    assert statistics.median(lengths.values()) <= 8
    assert statistics.quantiles(lengths.values(), n=10)[-1] <= 25


TYPE_VARIABLES = {"TypeVar", "ParamSpec", "TypeVarTuple"}


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, with those under its own `if` and `try`."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try):
            yield from top_level([*statement.body, *statement.orelse])


def names_bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement defines; a type variable is no definition."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(value=ast.Call(func=ast.Name(id=called))) if called in TYPE_VARIABLES:
            return
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def names_taken_from_below(name: str, statement: ast.stmt) -> Iterator[str]:
    """The names that a package's `__init__` imports from the modules inside the package."""
    if isinstance(statement, ast.ImportFrom) and MODULES[name].name == "__init__.py":
        source = "." * statement.level + (statement.module or "")
        if source.startswith((".", f"{name}.")):
            yield from (alias.asname or alias.name for alias in statement.names)


@each_public_module
def test_all_of_a_public_module_names_everything_that_it_defines_and_nothing_from_elsewhere(name: str):
    statements = list(top_level(TREES[name].body))
    bound = {bound for statement in statements for bound in names_bound(statement)} - {"TYPE_CHECKING"}
    defined = {name for name in bound if not name.startswith("_")}
    passed_on = {taken for statement in statements for taken in names_taken_from_below(name, statement)}
    module = importlib.import_module(name)
    exported = module.__all__
    assert len(exported) == len(set(exported))
    assert defined <= set(exported) <= defined | passed_on
    assert [missing for missing in exported if not hasattr(module, missing)] == []
