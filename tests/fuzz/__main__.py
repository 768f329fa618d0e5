"""Let Schemathesis call every operation of the OpenAPI document, as the operator and as either kind of organization.

``make fuzz``, or ``python -m tests.fuzz --seed 7 --examples 200`` for longer. The hub is a real one on loopback, with
things for the calls to find. A finding is an answer that the document does not describe, a 5xx, or a request that is
accepted though the document forbids it. Exit code 1 on any.
"""

import argparse
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import structlog

from tests.http.api_server import serving
from tests.http.test_api_matrix import make_world

VENV = Path(".venv-schemathesis")
CONFIG = Path(__file__).with_name("schemathesis.toml")
RUN_S_MAX = 900
PHASES = "examples,coverage,fuzzing"


def parameters_of(world, holder):
    """Return what the paths name: what is there, and the caller may know of."""
    return {
        "path.contract_id": world.contract,
        "path.event_id": world.event,
        "path.kind": str(holder.kind),
        "path.kid": holder.key.public.key_id,
        "path.mpass_id": world.mpass,
        "path.organization_id": holder.organization_id,
        "path.webhook_id": world.delivery,
    }


def run(served, name, holder, parameters, *, seed, examples):
    """Run Schemathesis as ``holder`` on the ids of ``parameters``; tell whether it found nothing."""
    print(f"\n{name}:", flush=True)  # noqa: T201  # a command
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "schemathesis.toml")
        lines = [f'"{name}" = "{value}"' for name, value in parameters.items()]
        config.write_text("\n".join(("[parameters]", *lines, CONFIG.read_text())))
        command = (
            *(VENV / "bin/schemathesis", "--config-file", config, "run", f"{served.client.base_url}/openapi.json"),
            *("--header", f"Authorization: Bearer {served.test_hub.token(holder)}", "--seed", str(seed)),
            *(
                "--phases",
                PHASES,
                "--max-examples",
                str(examples),
                "--warnings",
                "off",
                "--generation-database",
                "none",
            ),
        )
        return subprocess.run(command, timeout=RUN_S_MAX, check=False).returncode == 0


def main():
    """Run it for each kind of caller."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=25, help="how many an operation (25)")
    chosen = parser.parse_args()
    subprocess.run(["make", "--silent", VENV / ".done"], check=True)  # noqa: S607  # the make that ran this
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as served:
        worlds = {name: make_world(served.test_hub, name) for name in ("A", "B")}
        callers = (
            ("membership organization", worlds["A"].mo, parameters_of(worlds["A"], worlds["A"].mo)),
            ("publisher", worlds["A"].publisher, parameters_of(worlds["A"], worlds["A"].publisher)),
            ("operator", served.test_hub.console, parameters_of(worlds["B"], worlds["B"].mo)),
        )
        found = [not run(served, *caller, seed=chosen.seed, examples=chosen.examples) for caller in callers]
    return int(any(found))


sys.exit(main())
