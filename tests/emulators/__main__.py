"""Run a command beside the emulators, and end with its exit code."""

import os
import signal
import subprocess
import sys

from tests.emulators import emulators
from tests.emulators.servers import CannotRunError


def main(command: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the servers are stopped too
    try:
        with emulators() as urls:
            names = {"MONETA_DYNAMODB_URL": urls.dynamodb, "MONETA_MINISTACK_URL": urls.ministack}
            return subprocess.run(command, check=False, env={**os.environ, **names}).returncode
    except CannotRunError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
