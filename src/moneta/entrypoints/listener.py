"""The socket that requests come to. The supervisor binds and keeps it, so that it outlives a web process that dies."""

import socket


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
