"""``python -m moneta.entrypoints.worker processor|deliverer``: what the supervisor starts. Not for use by hand."""

import sys

from moneta.entrypoints.logs import spare_rich


def _main(name: str, *arguments: str) -> int:
    """Import only what the one process needs: reading templates here, sending there."""
    if name == "processor":
        from moneta.entrypoints.worker.processing import main  # noqa: PLC0415
    else:
        from moneta.entrypoints.worker.delivering import main  # noqa: PLC0415
    return main(arguments)


if __name__ == "__main__":
    spare_rich()
    sys.exit(_main(*sys.argv[1:]))
