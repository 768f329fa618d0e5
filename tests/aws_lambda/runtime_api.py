"""Lambda's Runtime API on loopback, for one function that runs under AWS's own runtime interface client.

``GET /2018-06-01/runtime/invocation/next`` waits for a call and hands it over; ``POST .../{id}/response`` and
``.../{id}/error`` bring what became of it, ``POST /runtime/init/error`` that the function can't be imported. A process
that is late is killed, as Lambda does it, and the next call starts another.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VERSION = "/2018-06-01/runtime"
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
ANSWERS = {202: "Accepted", 200: "OK"}


class LateError(Exception):
    """The call took longer than it may; its process has been killed."""


class FunctionError(Exception):
    """The function, or its import, failed; ``error`` is what the client tells of it."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error.get("errorType"), error.get("errorMessage"))
        self.error = error


def function_environment(name: str, endpoint_url: str) -> dict[str, str]:
    """Return the environment that Lambda and the template give a function; ``endpoint_url``: where its services are."""
    return {
        "PATH": os.environ["PATH"],
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "MONETA_BASE_URL": "https://hub.example",
        "MONETA_TABLE_PREFIX": "moneta-test-",
        "MONETA_EVENTS_QUEUE_URL": f"{endpoint_url}/123456789012/moneta-test-events",
        "MONETA_WEBHOOKS_QUEUE_URL": f"{endpoint_url}/123456789012/moneta-test-webhooks",
        "MONETA_SECRET_ID": "moneta-test-keys",
        "MONETA_ROOT_KEY_ID": "alias/moneta-test",
    }


@dataclass
class Call:
    """One call under way."""

    event: object
    deadline_ms: int
    outcome: "asyncio.Future[object]"
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))


class Function:
    """A function by its handler, ``module.handler``; each process of it is started by the first call that needs it.

    ``logged``: all that its processes have written. ``start_ms``, ``start_cpu_ms``: from the start of the last process
    until it asked for its first call, by the clock and by its CPU time.
    """

    def __init__(self, handler: str, environment: Mapping[str, str]) -> None:
        self._handler = handler
        self._environment = environment
        self._loop = asyncio.new_event_loop()
        self._calls: asyncio.Queue[Call | None] = asyncio.Queue()
        self._under_way: dict[str, Call] = {}
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self.logged = ""
        self.processes = self.restores = 0
        self.start_ms = self.start_cpu_ms = 0.0
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))

    def close(self) -> None:
        """Kill the process, and end the service."""
        self._loop.run_until_complete(self._end())
        self._loop.close()

    def start(self, *, timeout_s: float = 60) -> None:
        """Start a process, and wait until it asks for a call. Raises FunctionError if it can't be imported."""
        self._loop.run_until_complete(asyncio.wait_for(self._start(), timeout_s))

    def restart(self) -> None:
        """End the process if there is one, and start another."""
        self._loop.run_until_complete(self._stop())
        self.start()

    def invoke(self, event: object, *, timeout_s: float = 30) -> Any:
        """Return what the function answers. Raises FunctionError, LateError."""
        return self._loop.run_until_complete(self._invoke(event, timeout_s))

    async def _invoke(self, event: object, timeout_s: float) -> object:
        if self._process is None:
            await self._start()
        call = Call(event, round((time.time() + timeout_s) * 1000), self._loop.create_future())
        self._calls.put_nowait(call)
        try:
            return await asyncio.wait_for(call.outcome, timeout_s)
        except TimeoutError:
            await self._stop()
            raise LateError from None

    async def _start(self) -> None:
        self._ready, self._calls = self._loop.create_future(), asyncio.Queue()
        host, port = self._server.sockets[0].getsockname()
        started = time.perf_counter()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "awslambdaric",
            self._handler,
            env={**self._environment, "AWS_LAMBDA_RUNTIME_API": f"{host}:{port}"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self.processes += 1
        self._readers.append(asyncio.create_task(self._read_log(self._process)))
        await self._ready
        self.start_ms = (time.perf_counter() - started) * 1000

    async def _stop(self) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            self._calls.put_nowait(None)  # nobody is there any more to hand a call to
            await asyncio.gather(*self._readers)
            self._process, self._readers = None, []

    async def _end(self) -> None:
        await self._stop()
        self._server.close()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.logged += line.decode()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:  # until the client hangs up
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                method, path, _ = head[0].split()
                status, more, answer = await self._answer(method, path, body)
                lines = [f"HTTP/1.1 {status} {ANSWERS[status]}", f"Content-Length: {len(answer)}", *more, "", ""]
                writer.write("\r\n".join(lines).encode() + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, method: str, path: str, body: bytes) -> tuple[int, list[str], bytes]:
        match [method, *path.removeprefix(f"{VERSION}/").split("/")]:
            case ["GET", "invocation", "next"]:
                return await self._next()
            case ["GET", "restore", "next"]:
                self.restores += 1  # the snapshot is taken here, and restored at once
                return 200, [], b""
            case ["POST", "invocation", request_id, "response"]:
                self._under_way.pop(request_id).outcome.set_result(json.loads(body))
            case ["POST", "invocation", request_id, "error"]:
                self._under_way.pop(request_id).outcome.set_exception(FunctionError(json.loads(body)))
            case ["POST", "init", "error"]:
                self._ready.set_exception(FunctionError(json.loads(body)))
            case _:
                raise ValueError(f"no such call of the Runtime API: {method} {path}")
        return 202, [], b"{}"

    async def _next(self) -> tuple[int, list[str], bytes]:
        if not self._ready.done():
            self.start_cpu_ms = self._cpu_ms()
            self._ready.set_result(None)
        call = await self._calls.get()
        if call is None:
            raise ConnectionResetError
        self._under_way[call.request_id] = call
        headers = {
            "Lambda-Runtime-Aws-Request-Id": call.request_id,
            "Lambda-Runtime-Deadline-Ms": str(call.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:test",
            "Content-Type": "application/json",
        }
        return 200, [f"{name}: {value}" for name, value in headers.items()], json.dumps(call.event).encode()

    def _cpu_ms(self) -> float:
        """Return the CPU time of the process so far: proc_pid_stat(5), fields 14 and 15."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return 1000 * (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S
