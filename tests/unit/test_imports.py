"""What a process of the hub imports before it says ready: only what it needs, since that is most of its start."""

import subprocess
import sys

import pytest

READS_TEMPLATES = {"jsonschema_rs", "ruamel"}
SERVES = {"litestar", "uvicorn"}
SENDS = {"pyreqwest"}
UNUSED = {"botocore", "httpx", "joserfc", "litestar", "rich"}


def imported_by(module):
    """The packages that are there once ``module`` is imported as the supervisor's children import it."""
    program = (
        "import sys; from moneta.entrypoints.logs import spare_rich; spare_rich(); "
        f"import {module}; print(*(name for name, module in sys.modules.items() if module is not None))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("moneta.entrypoints.http.process", UNUSED | READS_TEMPLATES | SENDS),
        ("moneta.entrypoints.worker.processing", UNUSED | READS_TEMPLATES | SENDS | SERVES),
        ("moneta.entrypoints.worker.delivering", UNUSED | READS_TEMPLATES | SERVES),
        ("moneta.bootstrap", UNUSED | READS_TEMPLATES | SENDS | SERVES | {"apsw"}),
        ("moneta.entrypoints.supervisor", UNUSED | READS_TEMPLATES | SENDS | SERVES | {"apsw", "cryptography"}),
    ],
)
def test_a_process_imports_no_package_that_it_does_not_need_at_its_start(module, unneeded):
    assert imported_by(module) & unneeded == set()


def test_a_function_reads_its_keys_without_what_reads_certificates():
    program = "import sys, moneta.adapters.aws.hub_secret; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert "cryptography.x509" not in done.stdout.split()
