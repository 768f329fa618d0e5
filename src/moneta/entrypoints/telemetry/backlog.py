"""What waits in the store, as figures: taken when the web process is asked, or when the sweep looks."""

from moneta.application.ports import Hub
from moneta.entrypoints.telemetry import metrics
from moneta.entrypoints.telemetry.observing import Tally


def measure_backlog(found: Tally, hub: Hub) -> None:
    """Set the figures of the queue, the deliveries and the endpoints, as they are now."""
    now_ms = hub.clock.now_ms()
    events, deliveries = hub.queue.backlog(), hub.deliveries.backlog()
    found.set(metrics.EVENT_QUEUE_DEPTH, to=events.waiting)
    found.set(metrics.EVENT_QUEUE_AGE, to=_age_s(events.oldest_at, now_ms))
    found.set(metrics.DEAD_LETTERS, to=events.dead_letters)
    found.set(metrics.DELIVERIES_PENDING, to=deliveries.pending)
    found.set(metrics.DELIVERIES_DUE_AGE, to=_age_s(deliveries.due_at, now_ms))
    found.set(metrics.DELIVERIES_DEAD, to=deliveries.dead)
    for standing, count in hub.directory.endpoint_counts().items():
        found.set(metrics.ENDPOINTS, standing, to=count)


def _age_s(since_ms: int | None, now_ms: int) -> float:
    return 0.0 if since_ms is None else max(0, now_ms - since_ms) / 1000
