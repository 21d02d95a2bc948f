"""What every test shares."""

import os

from hypothesis import settings

from procurator.deploy.embedded import layout

# A law is no stopwatch: shared machines stall, and a deadline would make any property flaky.
settings.register_profile("procurator", deadline=None)
settings.load_profile("procurator")

#: Test processes side by side draw ports of their own: until somebody listens on one it is anybody's.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
layout._FREE_PORTS = layout._FREE_PORTS[_WORKER :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
