"""The socket that requests come to. The supervisor binds and keeps it, so that it outlives a web process that dies."""

import resource
import socket
from typing import Final

from moneta.domain.limits import CONNECTIONS_MAX

DESCRIPTORS_BESIDE: Final = 1_024
"""For everything but connections: files of the store, pipes, what a deliverer has open."""


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address; uvicorn begins to listen on it."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def allow_connections() -> None:
    """Let this process and its children have as many descriptors open as the hub's limits ask for, if the system does.

    Most systems let a program have 1,024 unless it asks for more (setrlimit(2)): a fifth of the connections we take.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + DESCRIPTORS_BESIDE
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
