"""What the forwarder counts beside what every component does (`procurator.metrics`)."""

from prometheus_client import Counter, Gauge

from procurator.metrics import DEAD_LETTERS

ATTEMPTS = Counter("procurator_webhook_attempts", "Deliveries tried, by what became of them.", ("outcome",))
ENTRIES = Counter("procurator_webhook_entries", "Entries that receivers have taken.")
ENDPOINTS = Gauge("procurator_webhook_endpoints", "Endpoints by state.", ("state",))
LAG = Gauge("procurator_webhook_lag_records", "Records between the slowest endpoint that works and the end.")
DEAD_LETTERS.labels("webhook")
