"""A component's log, for people and for machines."""

import json
import subprocess
import sys

import pytest

_PROGRAM = """
import logging
from procurator import logs
logs.to_stderr({as_json})
logging.getLogger("a").info("one\\nline of %d", 2)
logging.getLogger("httpx").info("unheard")
"""


def _logged(as_json: bool) -> str:
    program = _PROGRAM.format(as_json=as_json)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr


def test_for_machines_it_is_one_object_a_line() -> None:
    (line,) = _logged(True).splitlines()
    entry = json.loads(line)
    assert {name: entry[name] for name in ("level", "logger", "message")} == {
        "level": "info",
        "logger": "a",
        "message": "one\nline of 2",
    }
    assert entry["time"].endswith("Z")


def test_for_people_it_is_text() -> None:
    assert _logged(False).endswith("INFO a: one\nline of 2\n")


@pytest.mark.parametrize("as_json", [True, False])
def test_what_is_chatty_is_not_heard(as_json: bool) -> None:
    assert "unheard" not in _logged(as_json)
