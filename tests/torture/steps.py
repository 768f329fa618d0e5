"""The named points of a hub: before and after every call that a use case makes of a port.

A hub whose ports are wrapped tells whoever watches of each point as it is reached. There a process can die, the power
can go, or another process can do its part in between; the production code knows nothing of it.
"""

from collections.abc import Callable
from dataclasses import replace

from moneta.application.ports import Hub

PORTS = ("events", "queue", "contracts", "deliveries", "directory", "retention", "signer", "sealer", "templates")

Reach = Callable[[str], None]


class Watched:
    """A port that tells of every call, before and after. What it has beside methods is the port's own."""

    def __init__(self, port: object, name: str, reach: Reach) -> None:
        self._port, self._name, self._reach = port, name, reach

    def __getattr__(self, method: str):
        target = getattr(self._port, method)
        if not callable(target):
            return target

        def call(*arguments, **options):
            self._reach(f"{self._name}.{method}:before")
            result = target(*arguments, **options)
            self._reach(f"{self._name}.{method}:after")
            return result

        return call


def watched(hub: Hub, reach: Reach) -> Hub:
    """Return the hub with every port watched."""
    return replace(hub, **{name: Watched(getattr(hub, name), name, reach) for name in PORTS})
