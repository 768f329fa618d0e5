"""Moneta Core: the trusted hub between membership organizations and publishers."""

__version__ = "0.1.0"
