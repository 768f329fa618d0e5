"""``python -m moneta.entrypoints.worker``: what the supervisor starts. Not for use by hand."""

import sys

from moneta.entrypoints.worker.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
