"""The command line as a stranger meets it: exit codes, one line for what one mistypes, every command documented."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import procurator.cli
from procurator.config import Settings

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "procurator", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "COLUMNS": "200", **environment},
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nope"], "procurator: No such command 'nope'. (see procurator -h)"),
        (["bench", "speed"], None),
        (["up", "--port-offset", "many"], None),
        (["bench", "verify", "--rate", "5"], "procurator: bench verify takes no --rate"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], line: str | None) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert line is None or result.stderr.strip() == line


def test_a_wrong_setting_is_named() -> None:
    result = run("api", PROCURATOR_API_PORT="many")
    assert result.returncode == 2
    assert result.stderr.startswith("procurator: settings: PROCURATOR_API_PORT: Input should be a valid integer")


def test_help_is_quick_to_find() -> None:
    result = run("--help")
    assert result.returncode == 0
    for command in commands():
        assert command in result.stdout


def commands() -> list[str]:
    modules = (module.name for module in pkgutil.iter_modules(procurator.cli.__path__))
    return [name.strip("_") for name in modules if name != "__main__"]


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert [name for name in commands() if f"`procurator {name}" not in text] == []


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    assert [name for name in Settings.model_fields if f"`PROCURATOR_{name.upper()}`" not in text] == []
