"""What a receiver remembers, so that the same message gets the same answer and an older one undoes nothing.

The hub sends a message again until it hears a 2xx, and an ES256 signature made twice is two signatures: so the bytes
that were answered are kept by ``webhook-id``. The highest ``sequence`` seen is kept by contract.
"""

import fcntl
import os
import stat
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final, Protocol

from moneta.client.errors import ReplayStoreError
from moneta.domain.errors import Refused
from moneta.domain.identifiers import ContractId, WebhookId
from moneta.domain.ijson import Value, parse_object
from moneta.signing.chain import to_json

ANSWERS_KEPT_MAX: Final = 10_000
ANSWER_BYTES_KEPT_MAX: Final = 64 * 1024 * 1024
CONTRACTS_KEPT_MAX: Final = 100_000


class ReplayStore(Protocol):
    """For whoever writes the next one, over the database that the receiver has anyway. Called from many threads.

    A receiver calls the three for one contract from one thread at a time; several processes that serve one endpoint
    need one store for them all.
    """

    def seen(self, webhook_id: WebhookId) -> bytes | None:
        """Return what was answered to this message; None if it was not seen, or so long ago that it is forgotten."""

    def latest(self, contract_id: ContractId) -> int:
        """Return the highest sequence remembered for the contract, 0 for none."""

    def remember(self, webhook_id: WebhookId, contract_id: ContractId | None, sequence: int, answer: bytes) -> None:
        """Keep what will be answered, durably, before it is. The answer must outlive the hub's retries, some 3 days.

        Raises:
            ReplayStoreError: It is not kept; then nothing is answered.
        """


class _Sequences:
    """The highest sequence of each of the contracts last heard of."""

    def __init__(self) -> None:
        self._latest: OrderedDict[str, int] = OrderedDict()

    def latest(self, contract_id: str) -> int:
        return self._latest.get(contract_id, 0)

    def note(self, contract_id: str, sequence: int) -> None:
        self._latest[contract_id] = max(sequence, self._latest.pop(contract_id, 0))
        while len(self._latest) > CONTRACTS_KEPT_MAX:
            self._latest.popitem(last=False)


class MemoryReplayStore:
    """Remembers while the process lives, within two limits: for trying, and for tests. See ``ReplayStore``."""

    def __init__(self, *, answers_max: int = ANSWERS_KEPT_MAX, answer_bytes_max: int = ANSWER_BYTES_KEPT_MAX) -> None:
        self._answers_max = answers_max
        self._answer_bytes_max = answer_bytes_max
        self._lock = Lock()
        self._answers: OrderedDict[WebhookId, bytes] = OrderedDict()
        self._answer_bytes = 0
        self._sequences = _Sequences()

    def seen(self, webhook_id: WebhookId) -> bytes | None:
        """See ``ReplayStore.seen``."""
        with self._lock:
            return self._answers.get(webhook_id)

    def latest(self, contract_id: ContractId) -> int:
        """See ``ReplayStore.latest``."""
        with self._lock:
            return self._sequences.latest(contract_id)

    def remember(self, webhook_id: WebhookId, contract_id: ContractId | None, sequence: int, answer: bytes) -> None:
        """See ``ReplayStore.remember``."""
        with self._lock:
            self._answer_bytes += len(answer) - len(self._answers.pop(webhook_id, b""))
            self._answers[webhook_id] = answer
            while len(self._answers) > self._answers_max or self._answer_bytes > self._answer_bytes_max:
                _, forgotten = self._answers.popitem(last=False)
                self._answer_bytes -= len(forgotten)
            if contract_id is not None:
                self._sequences.note(contract_id, sequence)


class FileReplayStore:
    """Remembers in one file of JSON lines, appended and synced; one process at a time. See ``ReplayStore``.

    A line that a crash cut short is dropped when the file is opened: its answer was not given. When it holds twice
    as many lines as it keeps, the file is written anew with the last ones.
    """

    def __init__(self, path: Path, *, answers_max: int = ANSWERS_KEPT_MAX) -> None:
        self._path = path
        self._answers_max = answers_max
        self._lock = Lock()
        self._file = _open(path)
        try:
            self._load()
        except ReplayStoreError:
            self._file.close()
            raise

    def seen(self, webhook_id: WebhookId) -> bytes | None:
        """See ``ReplayStore.seen``."""
        with self._lock:
            place = self._places.get(webhook_id)
            return None if place is None else self._answer_at(*place)

    def latest(self, contract_id: ContractId) -> int:
        """See ``ReplayStore.latest``."""
        with self._lock:
            return self._sequences.latest(contract_id)

    def remember(self, webhook_id: WebhookId, contract_id: ContractId | None, sequence: int, answer: bytes) -> None:
        """See ``ReplayStore.remember``."""
        members = {
            "webhook_id": webhook_id,
            "contract_id": contract_id,
            "sequence": sequence,
            "answer": answer.decode("utf-8"),
        }
        with self._lock:
            self._append(webhook_id, to_json(members) + b"\n")
            if contract_id is not None:
                self._sequences.note(contract_id, sequence)
            if self._lines >= 2 * self._answers_max:
                self._write_anew()

    def close(self) -> None:
        """Close the file; nothing can be asked or remembered afterwards."""
        with self._lock:
            self._file.close()

    def _append(self, webhook_id: WebhookId, line: bytes) -> None:
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except (OSError, ValueError) as error:
            # Fail closed: after a failed write or sync nobody knows what the file holds. Opening it anew finds out.
            self._file.close()
            raise ReplayStoreError(f"{self._path}: can't remember an answer; nothing is answered") from error
        self._keep(webhook_id, self._end, len(line))
        self._end += len(line)
        self._lines += 1

    def _keep(self, webhook_id: WebhookId, offset: int, size: int) -> None:
        self._places.pop(webhook_id, None)
        self._places[webhook_id] = (offset, size)
        while len(self._places) > self._answers_max:
            self._places.popitem(last=False)

    def _answer_at(self, offset: int, size: int) -> bytes:
        try:
            line = os.pread(self._file.fileno(), size, offset)
        except (OSError, ValueError) as error:
            raise ReplayStoreError(f"{self._path}: can't be read") from error
        return _answer(line, self._path)

    def _load(self) -> None:
        self._places: OrderedDict[WebhookId, tuple[int, int]] = OrderedDict()
        self._sequences = _Sequences()
        self._end = self._lines = 0
        self._file.seek(0)
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            webhook_id, contract_id, sequence = _names(line, self._path)
            self._keep(webhook_id, self._end, len(line))
            if contract_id is not None:
                self._sequences.note(contract_id, sequence)
            self._end += len(line)
            self._lines += 1
        self._file.truncate(self._end)
        self._file.seek(self._end)

    def _write_anew(self) -> None:
        """Keep the last lines only. The old file stays whole until the new one is synced and takes its name."""
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.unlink(missing_ok=True)
        lines = [os.pread(self._file.fileno(), size, offset) for offset, size in self._places.values()]
        file = _open(fresh)
        file.write(b"".join(lines))
        file.flush()
        os.fsync(file.fileno())
        fresh.rename(self._path)
        _sync_folder(self._path.parent)
        self._file.close()
        self._file = file
        self._load()


def _open(path: Path) -> BinaryIO:
    """Return the file, made if there is none, for this process alone and readable by its owner alone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, stat.S_IRUSR | stat.S_IWUSR)
        file = os.fdopen(descriptor, "r+b")
    except OSError as error:
        raise ReplayStoreError(f"{path}: can't be opened: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ReplayStoreError(f"{path}: another process uses it") from error
    return file


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _names(line: bytes, path: Path) -> tuple[WebhookId, ContractId | None, int]:
    members = _members(line, path)
    webhook_id, contract_id, sequence = members.get("webhook_id"), members.get("contract_id"), members.get("sequence")
    if not isinstance(webhook_id, str) or not isinstance(sequence, int) or not isinstance(contract_id, str | None):
        raise ReplayStoreError(f"{path}: not a replay store")
    return WebhookId(webhook_id), None if contract_id is None else ContractId(contract_id), sequence


def _answer(line: bytes, path: Path) -> bytes:
    answer = _members(line, path).get("answer")
    if not isinstance(answer, str):
        raise ReplayStoreError(f"{path}: not a replay store")
    return answer.encode("utf-8")


def _members(line: bytes, path: Path) -> Mapping[str, Value]:
    try:
        return parse_object(line, what=str(path))
    except Refused as error:
        raise ReplayStoreError(f"{path}: not a replay store: {error.detail}") from error
