"""A fork leaves the parent's links to the parent, whoever holds them."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc, os, signal, sys, threading
from procurator.producers import Procurator
from procurator.producers.memory import MemoryTransport

parent, flushing, over = os.getpid(), threading.Event(), threading.Event()

class Slow(MemoryTransport):
    def flush(self, deadline_s, patient=True):
        if os.getpid() != parent:
            os._exit(9)
        flushing.set()
        over.wait(60)
        return 0

    def forget(self):
        os.write(1, b"forgotten ")

def start():
    p = Procurator(transport=Slow(), heartbeat_s=0.1, environment={})
    p.session(agent="a").start()
    return p

BEGIN
flushing.wait(60)
child = os.fork()
if child == 0:
    END
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
over.set()
print(status)
"""

LINKS = {
    "open": "p = start(); flushing.set()",
    "closing": "p = start(); threading.Thread(target=p.close).start()",
    "collected": "start(); gc.collect()",
}
ENDS = {"exit": ("sys.exit(0)", 0), "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); signal.pause()", -15)}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("end", ENDS)
def test_a_forked_child_delivers_nothing_of_its_parents(link: str, end: str) -> None:
    how, status = ENDS[end]
    script = SCRIPT.replace("BEGIN", LINKS[link]).replace("END", how)
    command = [sys.executable, "-W", "ignore", "-c", script]
    ended = subprocess.run(command, timeout=60, check=True, capture_output=True, text=True)
    assert ended.stdout == f"forgotten {status}\n"
