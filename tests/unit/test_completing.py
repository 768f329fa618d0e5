"""The thread that completes what others left: whatever it meets, it goes on, and says so."""

from threading import Event

from structlog.testing import capture_logs

from moneta.domain.errors import StoreUnavailableError
from moneta.entrypoints.worker.completing import completing_thread


class ScriptedRelay:
    """Meets what a script says, one line a look, and then finds nothing."""

    def __init__(self, *script):
        self._script = list(script)
        self.is_done = Event()

    def complete_waiting(self):
        if not self._script:
            self.is_done.set()
            return 0
        met = self._script.pop(0)
        if isinstance(met, Exception):
            raise met
        return met


def test_it_goes_on_whatever_it_meets_and_says_what():
    relay = ScriptedRelay(StoreUnavailableError("away"), ValueError("a bug"), 2)
    completing = completing_thread(relay, every_s=0.01)
    with capture_logs() as lines:
        completing.start()
        assert relay.is_done.wait(30)
        completing.stop()
    assert [line["event"] for line in lines] == ["store_unavailable", "completing_failed", "changes_completed"]
    assert lines[-1]["count"] == 2


def test_it_looks_at_once_and_stops_when_it_is_told():
    relay = ScriptedRelay()
    completing = completing_thread(relay, every_s=3_600)
    completing.start()
    assert relay.is_done.wait(30)
    completing.stop()
    assert not completing._thread.is_alive()
