"""The papers agree with the code: links, decisions, step numbers, named tests, samples, and no real identifiers."""

import ast
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from bekend_broker.config import load_config as load_broker
from bekend_deploy.cli import PARTS, load
from bekend_node.config import load_config as load_node
from bekend_node.enrol.mapping import Mapping
from bekend_policy.load import load_covenant
from bekend_policy.strict_yaml import load_yaml

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("proto", "policy", "node", "broker", "deploy", "bench")
SOURCE_SUFFIXES = {".py", ".pyi", ".proto", ".yaml", ".yml", ".md", ".toml", ".json", ".csv", ".txt", ".sh", ".service"}


def files_of_the_project() -> Iterator[Path]:
    """Every text file that belongs to the project, without what tools leave behind."""
    for top in (*ROOMS, "docs", "tests", ".ci"):
        for path in sorted((ROOT / top).rglob("*")):
            hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT / top).parts)
            if path.is_file() and not hidden and (path.suffix in SOURCE_SUFFIXES or path.parent.name == ".ci"):
                yield path
    yield from (path for path in sorted(ROOT.iterdir()) if path.is_file() and path.suffix in SOURCE_SUFFIXES)


PAGES = [path for path in files_of_the_project() if path.suffix == ".md"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        inside = goal == ROOT or ROOT in goal.parents
        if not inside or not goal.exists() or (anchor and anchor not in anchors(goal)):
            broken.append(target)
    assert not broken


def test_every_decision_is_numbered_and_stands_in_the_index() -> None:
    folder = ROOT / "docs" / "adr"
    pages = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))
    assert re.findall(r"\]\((\d{4}-[^)]+\.md)\)", (folder / "README.md").read_text()) == pages
    for name in pages:
        text = (folder / name).read_text()
        assert text.startswith(f"# {name[:4]} ")
        for heading in ("## Context", "## Decision", "## Consequences"):
            assert heading in text, name


def named_tests(path: Path) -> set[str]:
    """Names of the test functions of a file, those of classes as Class::name."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}::{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    missing = []
    for file, test in re.findall(r"`(tests/[\w/]+\.py)(?:::([\w:]+))?`", page.read_text()):
        path = ROOT / file
        if not path.is_file() or (test and test not in named_tests(path)):
            missing.append(f"{file}::{test}")
    assert not missing


def commands_of(page: Path) -> list[str]:
    """The `bekend` commands of a page: lines of its blocks, and what stands between backticks in its text."""
    text = page.read_text()
    lines = re.findall(r"^(?:\$ )?(bekend .*)$", "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)), re.M)
    return [re.sub(r"\s{2,}.*$|\s[#>].*$", "", line) for line in [*lines, *re.findall(r"`(bekend [^`\n]+)`", text)]]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_a_page_shows_exists_with_its_options(page: Path) -> None:
    wrong = []
    for line in commands_of(page):
        words = shlex.split(line)[1:]
        if words[0] not in PARTS:
            wrong += [] if words[0].startswith("-") or words[0] == "GROUP" else [line]
            continue
        command = load(words[0])
        for word in words[1:]:
            children = getattr(command, "commands", {})
            if word in children:
                command = children[word]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        known |= {"--help"}
        wrong += [line] if any(word.startswith("--") and word not in known for word in words) else []
    assert not wrong


SAMPLES = [path for path in files_of_the_project() if path.name.endswith(".example.yaml")]


@pytest.mark.parametrize("sample", SAMPLES, ids=name_of)
def test_every_sample_configuration_is_valid(sample: Path) -> None:
    loaders: dict[str, Callable[[Path], object]] = {
        "broker.example.yaml": load_broker,
        "node.example.yaml": load_node,
        "mapping.example.yaml": lambda path: load_yaml(path, Mapping),
        "mapping-database.example.yaml": lambda path: load_yaml(path, Mapping),
    }
    assert loaders[sample.name](sample) is not None


def test_every_sample_covenant_is_valid() -> None:
    folders = [path.parent for path in (ROOT / "policy" / "convenant").rglob("afspraken.yaml")]
    assert folders
    for folder in folders:
        assert load_covenant(folder).demo


def rows(page: Path, first: str) -> list[list[str]]:
    """Cells of the table rows whose first cell matches."""
    lines = (line for line in page.read_text().splitlines() if line.startswith("| "))
    cells = ([cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines)
    return [row for row in cells if re.fullmatch(first, row[0])]


def test_the_steps_of_a_lookup_stand_in_the_code_where_the_page_says() -> None:
    said: dict[str, set[str]] = {}
    for row in rows(ROOT / "docs" / "lookup.md", r"\(\d+\)"):
        said.setdefault(row[0], set()).update(re.findall(r"`([\w/]+\.py)`", row[-1]))
    tagged: dict[str, set[str]] = {}
    places = [*(ROOT / "node/bekend_node/ask").glob("*.py"), *(ROOT / "node/bekend_node/answer").glob("*.py")]
    for path in [*places, ROOT / "broker/bekend_broker/lookup.py"]:
        for number in re.findall(r"# (\(\d+\)):", path.read_text()):
            tagged.setdefault(number, set()).add(name_of(path))
    assert list(said) == [f"({number})" for number in range(1, 12)]
    assert tagged == said


def test_the_steps_of_a_release_stand_in_the_code_where_the_page_says() -> None:
    said: dict[str, set[str]] = {}
    for row in rows(ROOT / "docs" / "lookup.md", r"\(R\d\)"):
        said.setdefault(row[0], set()).update(re.findall(r"`([\w/]+\.py)`", row[-1]))
    tagged: dict[str, set[str]] = {}
    places = [path for part in ("ask", "answer", "desk") for path in (ROOT / "node/bekend_node" / part).glob("*.py")]
    for path in [*places, *(ROOT / "broker/bekend_broker").glob("*.py")]:
        for number in re.findall(r"# (\(R\d\)):", path.read_text()):
            tagged.setdefault(number, set()).add(name_of(path))
    assert list(said) == [f"(R{number})" for number in range(1, 10)]
    built = {number: {file for file in files if (ROOT / file).is_file()} for number, files in said.items()}
    assert tagged == {number: files for number, files in built.items() if files}


def test_every_threat_has_an_attacker_and_a_test() -> None:
    table = rows(ROOT / "docs" / "threat-model.md", r"T\d+")
    assert [row[0] for row in table] == [f"T{number}" for number in range(1, len(table) + 1)]
    for row in table:
        assert len(row) == 4, row
        assert all(row), row
        assert "`tests/" in row[3], row


def test_every_item_of_the_must_list_has_a_row() -> None:
    items = [row[0] for row in rows(ROOT / "docs" / "threat-model.md", r"12\.\d+")]
    assert items == [f"12.{number}" for number in range(1, 24)]


def test_every_requirement_has_a_test_or_says_that_it_is_open() -> None:
    table = rows(ROOT / "docs" / "requirements.md", r"FG-\d\d")
    assert [row[0] for row in table] == [f"FG-{number:02}" for number in range(1, 51)]
    for row in table:
        assert row[2] in {"done", "part", "open"}, row
        assert ("`tests/" in row[3]) == (row[2] != "open"), row


# Leading zeros cannot be shown with a reserved number; these stand for them.
LEADING_ZEROS = {"012345672", "000009878", "000000012"}


def passes_the_11_proof(digits: str) -> bool:
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True)) % 11 == 0


def test_FG_49_only_reserved_numbers_stand_in_the_repository() -> None:
    """BSNs from 9999 00000 on and OINs under 00000099 belong to nobody; any other valid one might."""
    found = []
    for path in files_of_the_project():
        text = path.read_text(encoding="utf-8", errors="replace")
        for digits in re.findall(r"(?<![\w.])[0-9]{9}(?![\w.]\d|\w)", text):
            free = digits.startswith("9999") or digits in LEADING_ZEROS or digits == "000000000"
            if passes_the_11_proof(digits) and not free:
                found.append(f"{name_of(path)}: a valid BSN outside the reserved range")
        for digits in re.findall(r"(?<!\w)0{7}[0-9]{13}(?!\w)", text):
            if not digits.startswith("00000099") and set(digits) != {"0"}:
                found.append(f"{name_of(path)}: an OIN outside the reserved range")
    assert not found


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    pattern = re.compile(r"(?<![\w./$}])/(?:home|root|work|Users)/\w")
    assert not [name_of(path) for path in files_of_the_project() if pattern.search(path.read_text(errors="replace"))]


def test_CI_runs_every_check_and_the_commands_of_the_README() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    for check in ("ruff check", "ruff format --check", "mypy", "buf lint", "generate.py --check", "reuse lint"):
        assert check in script
    for check in ("uv lock --check", "check rules", "test rules", "newcomer 'bekend demo'", "newcomer 'pytest -q'"):
        assert check in script
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^python3 -m venv .*$", readme, re.MULTILINE)
    assert [command.rsplit("/", 1)[1] for command in commands] == ["bekend demo", "pytest -q"]


def test_the_lock_names_the_public_index_alone() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    for package in lock["package"]:
        source = package["source"]
        assert source in ({"registry": "https://pypi.org/simple"}, {"editable": "."}), package["name"]
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        assert all(file["url"].startswith("https://files.pythonhosted.org/") for file in files), package["name"]


def test_all_papers_name_the_same_version_and_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    public = yaml.safe_load((ROOT / "publiccode.yml").read_text())
    assert public["softwareVersion"] == project["version"]
    assert public["legal"]["license"] == project["license"] == "EUPL-1.2"
    reuse = tomllib.loads((ROOT / "REUSE.toml").read_text())
    data = "bench/bekend_bench/data/surnames_nl_2007.csv"
    others = {entry["path"]: entry["SPDX-License-Identifier"] for entry in reuse["annotations"]}
    # Counts that somebody else gave away; nothing else has another licence.
    assert others.pop(data) == "CC0-1.0"
    assert set(others.values()) == {"EUPL-1.2"}
    assert (ROOT / "LICENSES" / "EUPL-1.2.txt").read_text().startswith("EUROPEAN UNION PUBLIC LICENCE v. 1.2")


def test_the_glossary_and_the_exit_codes_are_sorted() -> None:
    terms = [row[0].lower() for row in rows(ROOT / "docs" / "glossary.md", r"(?!-|Dutch|English).+") if len(row) == 3]
    assert terms == sorted(terms)
    codes = [int(row[0]) for row in rows(ROOT / "docs" / "exit-codes.md", r"\d+")]
    assert codes == sorted(codes)


def test_every_module_that_the_architecture_names_exists() -> None:
    tree = re.findall(r"```\n(.*?)```", (ROOT / "docs/architecture.md").read_text(), re.S)[0]
    room = ""
    for line in tree.splitlines():
        if line[0] != " ":
            room = line.split("/")[0]
            assert (ROOT / room).is_dir(), room
        for name in re.findall(r"(?<![\w/*.])\w+\.py\b", line):
            assert (ROOT / room / f"bekend_{room}" / name).is_file(), f"{room}: {name}"
