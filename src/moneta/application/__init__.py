"""What the hub does: one module a use case, and every port on one page."""
