"""What every test shares."""

from hypothesis import settings

# A law is no stopwatch: shared machines stall, and a deadline would make any property flaky.
settings.register_profile("procurator", deadline=None)
settings.load_profile("procurator")
