"""What is shipped: the wheel built from the sdist holds exactly the tree's package files, and nothing else."""

import ast
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FOLDERS = ("avro_schemas", "producers", "stream_processors", "sink", "query_api", "deploy", "bench")


def tracked() -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listing.stdout.split("\0") if name]


def _is_for_containers(name: str) -> bool:
    """Say whether it is for those who build the image, from a checkout: of deploy/ the wheel has the embedded stack."""
    return name.startswith("deploy/") and not name.startswith(("deploy/__init__.py", "deploy/embedded/"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, then the wheel from nothing but the sdist."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*build, "--sdist", str(ROOT)], check=True, capture_output=True, timeout=120)
    (archive,) = out.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        sdist.extractall(out / "unpacked", filter="data")
    (source,) = (out / "unpacked").iterdir()
    subprocess.run([*build, "--wheel", str(source)], check=True, capture_output=True, timeout=120)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_every_package_file_of_the_tree(wheel: Path) -> None:
    expected = set()
    for name in tracked():
        if name.startswith("src/procurator/") and not (ROOT / name).is_symlink():
            expected.add(name.removeprefix("src/"))
        elif name.startswith(tuple(f"{folder}/" for folder in FOLDERS)) and not _is_for_containers(name):
            expected.add(f"procurator/{name}")
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert shipped == expected


def test_the_lock_pins_every_dependency_with_hashes_and_names_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert "://" not in lock
    assert lock.count("==") > 50
    requirement = None
    for line in lock.splitlines():
        if line.startswith("    --hash=sha256:"):
            requirement = None
        else:
            assert requirement is None, f"{requirement} has no hash"
            assert "==" in line
            requirement = line
    assert requirement is None


def test_no_machine_path_and_no_registry_host_is_committed() -> None:
    words = ("/wo" + "rk/", "/ro" + "ot/", "maven" + ".apache.org", "python" + "hosted.org")
    for name in tracked():
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            text = path.read_text("utf-8", errors="ignore")
            assert not any(word in text for word in words), name


def test_what_is_imported_is_declared() -> None:
    # What only a development tool brings along is there in every checkout, and in no installation.
    installed = set(FOLDERS) - {"bench"}  # benchmarks need the checkout's tools
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for name in extras if name != "dev" for line in extras[name])]
    direct = {Requirement(line).name for line in lines} - {project["name"]}
    # What they cannot do without comes with them.
    brought = [Requirement(line) for name in direct for line in requires(name) or []]
    declared = {canonicalize_name(name) for name in direct}
    declared |= {canonicalize_name(each.name) for each in brought if "extra" not in str(each.marker)}
    imported = {
        module.partition(".")[0]: name
        for name in tracked()
        if name.endswith(".py") and name.startswith(("src/", *(f"{folder}/" for folder in installed)))
        for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8")))
        for module in _imported(node)
    }
    owners = packages_distributions()
    undeclared = {
        f"{name} ({where})"
        for name, where in imported.items()
        if name not in sys.stdlib_module_names
        and name != "procurator"
        and declared.isdisjoint(map(canonicalize_name, owners.get(name, [name])))
    }
    assert not undeclared


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
