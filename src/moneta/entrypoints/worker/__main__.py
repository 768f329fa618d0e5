"""``python -m moneta.entrypoints.worker``: what the supervisor starts. Not for use by hand."""

import sys

from moneta.entrypoints.logs import spare_rich

if __name__ == "__main__":
    spare_rich()
    from moneta.entrypoints.worker.process import main

    sys.exit(main(sys.argv[1:]))
