"""What the API counts about itself, for Prometheus. No label names a person, a session or a path as it was sent."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import Scope

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ApiMetrics:
    """The figures of one application."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "procurator_api_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self._seconds = Histogram(
            "procurator_api_request_seconds",
            "From the request to the end of its answer.",
            ("route", "method"),
            buckets=_SECONDS,
            registry=registry,
        )
        #: From the audit event to its acknowledgement: what the audit adds to an answer.
        self.audit_seconds = Histogram(
            "procurator_api_audit_seconds", "Until an audit event is acknowledged.", buckets=_SECONDS, registry=registry
        )
        self.audit_failures = Counter(
            "procurator_api_audit_failures", "Audit events that were not acknowledged.", registry=registry
        )
        self.rate_limited = Counter(
            "procurator_api_rate_limited", "Requests refused for their rate.", registry=registry
        )
        self.refusals_summarised = Counter(
            "procurator_api_refusals_summarised", "Refusals that the audit has as a count alone.", registry=registry
        )
        #: Asked of the live streams when the figures are read.
        self.live_listeners = Gauge("procurator_api_live_listeners", "Live streams that are open.", registry=registry)
        self.live_slow = Counter(
            "procurator_api_live_slow", "Live streams that were dropped for not keeping up.", registry=registry
        )

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one request; the route's template stands for its path."""
        route = getattr(scope.get("route"), "path", None) or "none"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(route, method, status).inc()
        self._seconds.labels(route, method).observe(seconds)

    def page(self) -> bytes:
        """Return all figures in the text format."""
        return generate_latest(self._registry)
