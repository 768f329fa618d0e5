"""The demo's processes: started, talked to, and stopped, whatever happens in between."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import IO, Final, cast

from moneta.entrypoints.demo.lines import Line, read_line, write_line

START_S_MAX: Final = 60.0
STOP_S_MAX: Final = 15.0


class DemoError(Exception):
    """The demo can't go on. The text says what happened."""


def moneta(*arguments: str | Path) -> str:
    """Run one command of the command line, and return what it prints."""
    done = subprocess.run(  # noqa: S603  # our own program, under our own interpreter
        [sys.executable, "-m", "moneta", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=START_S_MAX,
    )
    if done.returncode != 0:
        raise DemoError(f"moneta {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextmanager
def hub_process(data_dir: Path, log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Give a running hub's base URL and its process; the hub is stopped at the end of the block."""
    options = ["--port", "0", "--allow-http-webhooks", "--allow-private-webhooks", "--log-level", "warning"]
    with log.open("ab") as log_file:
        process = subprocess.Popen(  # noqa: S603  # our own program, under our own interpreter
            [sys.executable, "-m", "moneta", "up", "--data", str(data_dir), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log_file,
            start_new_session=True,
        )
    try:
        line = cast(IO[bytes], process.stdout).readline().decode()  # a pipe was asked for
        if not line.startswith("ready "):
            raise DemoError(f"the hub did not start: {log.read_text(errors='replace').strip()}")
        yield line.split()[1], process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ask a process to stop, and return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
    finally:
        if process.stdout is not None:
            process.stdout.close()


class PartnerProcess:
    """A partner's process. What it tells goes to a queue, with its role."""

    def __init__(self, role: str, folder: Path, told: "Queue[tuple[str, Line | None]]") -> None:
        folder.mkdir(mode=0o700, parents=True)
        self.role = role
        self._process = subprocess.Popen(  # noqa: S603  # our own program, under our own interpreter
            [sys.executable, "-m", "moneta.entrypoints.demo.partner", role, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._input = cast(IO[bytes], self._process.stdin)  # a pipe was asked for
        self._output = cast(IO[bytes], self._process.stdout)  # likewise
        self._told = told
        self._reader = Thread(target=self._read, daemon=True)

    def ask(self, **members: object) -> Line:
        """Tell it something, and return what it says."""
        self.tell(**members)
        answer = read_line(self._output)
        if answer is None:
            raise DemoError(f"the {self.role}'s process ended")
        return answer

    def tell(self, **members: object) -> None:
        """Tell it something."""
        write_line(self._input, **members)

    def listen(self) -> None:
        """From now on, put what it tells into the queue."""
        self._reader.start()

    def close(self) -> None:
        """Stop it: its input ends, and so does it."""
        self._input.close()
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader.ident is not None:
            self._reader.join(STOP_S_MAX)
        self._output.close()

    def _read(self) -> None:
        while True:  # until it ends
            line = read_line(self._output)
            self._told.put((self.role, line))
            if line is None:
                return
