"""What ``GET /metrics`` tells Prometheus. No label names a party: figures of tenants are not public."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from moneta.application.ports import DeliveryStatus, Hub

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The web process's own figures, and those of the store at the moment of asking."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.events_accepted = Counter("moneta_events_accepted", "Events answered 202.", registry=registry)
        self.events_waiting = Gauge("moneta_events_waiting", "Events that wait to be written.", registry=registry)
        self.event_seconds = Histogram(
            "moneta_event_seconds", "Time to answer POST /event.", buckets=SECONDS_BUCKETS, registry=registry
        )
        self._refusals = Counter(
            "moneta_requests_refused", "Refusals, by route and problem code.", ("route", "code"), registry=registry
        )
        self._call_seconds = Histogram(
            "moneta_request_seconds", "Time of other calls.", ("route",), buckets=SECONDS_BUCKETS, registry=registry
        )
        self._queue_depth = Gauge(
            "moneta_event_queue_depth", "Accepted events that wait for their outcome.", registry=registry
        )
        self._deliveries = Gauge("moneta_deliveries", "Deliveries, by status.", ("status",), registry=registry)

    def refused(self, route: str, code: str) -> None:
        """Count a refusal."""
        self._refusals.labels(route, code).inc()

    def answered(self, route: str, seconds: float) -> None:
        """Count the time that a request took."""
        self._call_seconds.labels(route).observe(seconds)

    def exposition(self, hub: Hub) -> bytes:
        """Return every figure in Prometheus' text format, those of the store read now."""
        self._queue_depth.set(hub.queue.depth())
        counts = hub.deliveries.counts()
        for status in DeliveryStatus:
            self._deliveries.labels(status).set(counts.get(status, 0))
        return generate_latest(self._registry)
