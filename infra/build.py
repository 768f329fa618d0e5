"""Build the functions' artifact: ``python infra/build.py`` for Lambda, ``--host`` for an emulator on this machine.

Both are made of the same source and of the same locked requirements. What the artifact holds:

1. Every package of ``requirements/aws.txt``, as a wheel for arm64 and Lambda's Python, less what no function imports.
2. Moneta, without its tests.
3. The compiled modules of all of it, since ``/var/task`` is read-only and compiling is most of a cold start. They are
   not checked against their source, whose time a zip doesn't keep.

The same input gives the same bytes, so that the artifact's name, which has their digest, changes only with them.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[1]
BUILD: Final = PROJECT / "build" / "aws"
UV: Final = PROJECT / ".venv" / "bin" / "uv"
REQUIREMENTS: Final = PROJECT / "requirements" / "aws.txt"
PYTHON_VERSION: Final = "3.13"
"""The runtime that the template names; a test compares."""
PLATFORM: Final = ("--python-platform", "aarch64-manylinux_2_28", "--python-version", PYTHON_VERSION)
UNZIPPED_BYTES_MAX: Final = 250 * 1024 * 1024
"""What Lambda unpacks at most."""
MOMENT: Final = (1980, 1, 1, 0, 0, 0)
"""The time of every file: the earliest that a zip can say."""

UNUSED: Final = (
    "bin",
    "**/*.pyi",
    "**/tests",
    # Of the installer's notes, the paths of this machine; metadata stays, for whoever asks a package for its version.
    "*.dist-info/RECORD",
    "*.dist-info/INSTALLER",
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
    "*.dist-info/uv_cache.json",
)
UNUSED_PACKAGES: Final = (
    "apsw",  # of the embedded store,
    "httptools uvicorn uvloop",  # of the server,
    "click markdown_it mdurl pygments rich rich_click shellingham typer",  # of the command line,
    "faker",  # of the framework's tests,
    "pycparser",  # of cffi's compiler.
)
SERVICES: Final = frozenset({"dynamodb", "kms", "secretsmanager", "sqs", "sts"})
"""What botocore is to speak; it ships the words of four hundred others."""


class CannotBuildError(Exception):
    """The artifact can't be built here; the message says what is missing."""


def main(arguments: Sequence[str]) -> int:
    """Build, and print where the artifact is and how large."""
    parser = argparse.ArgumentParser(description="Build the artifact of the functions")
    parser.add_argument("--host", action="store_true", help="for this machine and its Python, not for Lambda")
    is_for_host = parser.parse_args(arguments).host
    try:
        artifact, unzipped = build(is_for_host=is_for_host)
    except (CannotBuildError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    print(f"{artifact}  {_mebibytes(artifact.stat().st_size)}, unpacked {_mebibytes(unzipped)}")
    return 0


def build(*, is_for_host: bool) -> tuple[Path, int]:
    """Return the artifact, and how many bytes it unpacks to.

    Raises:
        CannotBuildError: There is no Python of Lambda's version, or the artifact is too large.
    """
    python = sys.executable if is_for_host else lambda_python()
    folder = BUILD / ("host" if is_for_host else "arm64")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    platform = ("--python", python) if is_for_host else PLATFORM
    _install(folder, *platform, "--only-binary", ":all:", "--require-hashes", "-r", str(REQUIREMENTS))
    _install(folder, *platform, "--no-deps", str(PROJECT))
    _remove_unused(folder)
    compiling = ("-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", "/var/task")
    subprocess.run([python, "-m", "compileall", *compiling, str(folder)], check=True)
    unzipped = sum(file.stat().st_size for file in _files(folder))
    if unzipped > UNZIPPED_BYTES_MAX:
        raise CannotBuildError(f"{folder} has {unzipped} bytes, and Lambda takes {UNZIPPED_BYTES_MAX}")
    return _zipped(folder), unzipped


def lambda_python() -> str:
    """Return a Python of Lambda's version, which alone can compile for it."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    names = [f"python{PYTHON_VERSION}", *map(str, sorted(versions.glob(f"{PYTHON_VERSION}*/bin/python")))]
    question = "import sys; print(sys.executable); sys.exit('%d.%d' % sys.version_info[:2] != sys.argv[1])"
    for name in names:  # one of them may be a shim that refuses to run
        if shutil.which(name) is not None:
            asked = subprocess.run([name, "-c", question, PYTHON_VERSION], check=False, capture_output=True, text=True)
            if asked.returncode == 0:
                return asked.stdout.strip()
    raise CannotBuildError(f"the artifact is compiled by Python {PYTHON_VERSION}, which is not installed")


def _install(folder: Path, *arguments: str) -> None:
    subprocess.run(
        [UV, "pip", "install", "--quiet", "--no-compile-bytecode", "--target", folder, *arguments], check=True
    )


def _remove_unused(folder: Path) -> None:
    packages = " ".join(UNUSED_PACKAGES).split()
    for pattern in (*UNUSED, *packages, *(f"{name}-*.dist-info" for name in packages)):
        for found in list(folder.glob(pattern)):
            shutil.rmtree(found) if found.is_dir() else found.unlink()
    for found in (folder / "botocore" / "data").iterdir():
        if found.is_dir() and found.name not in SERVICES:
            shutil.rmtree(found)


def _zipped(folder: Path) -> Path:
    draft = folder.with_suffix(".zip")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in _files(folder):
            entry = zipfile.ZipInfo(str(file.relative_to(folder)), MOMENT)
            entry.external_attr = (0o755 if os.access(file, os.X_OK) else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()[:16]
    return draft.rename(draft.with_name(f"moneta-{folder.name}-{digest}.zip"))


def _files(folder: Path) -> Iterator[Path]:
    return (one for one in sorted(folder.rglob("*")) if one.is_file())


def _mebibytes(count: int) -> str:
    return f"{count / 1024 / 1024:.1f} MiB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
