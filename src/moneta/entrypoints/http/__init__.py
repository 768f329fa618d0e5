"""The web process: routes, authentication and problem answers."""
