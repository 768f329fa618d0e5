"""``python -m moneta.entrypoints.http``: what the supervisor starts. Not for use by hand."""

import sys

from moneta.entrypoints.http.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
