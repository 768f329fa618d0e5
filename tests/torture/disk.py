"""A disk that fills, fails and loses its power: an APSW VFS in front of real files.

It knows of every file what was synced. In a power cut it keeps that, and of what was written since whatever chance
leaves: nothing, all, what came first, some writes, some sectors, parts of sectors. The rules, those of Linux and of a
disk that orders nothing:

1. Only a sync makes a write safe, and only in the file that is synced; the first one makes the file's name safe too.
2. A deleted file may come back as it was, until another of its name is synced.
3. A sync that fails loses what it should have written for good: the pages count as clean, and a later one says nothing.
4. A killed process loses nothing that it wrote, and makes nothing safe: a power cut may still take it.
5. What SQLite does not write (what a process has in hand) is never synced: all, nothing or its beginning is left.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path

import apsw

SECTOR_BYTES = 512
NAMES = (f"torture-{number}" for number in count())


class Fault(StrEnum):
    """How an operation can fail."""

    IO = "EIO"
    FULL = "ENOSPC"
    SHORT = "short write"
    """Half of it is written, and then there is no room."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of a file: ``write``, ``truncate``, ``sync`` or ``delete``; the ``number`` counts from 1."""

    number: int
    kind: str
    file: str
    size: int = 0


@dataclass(slots=True)
class Written:
    """What was written and not synced: bytes at an offset, or None for a truncation to it."""

    number: int
    offset: int
    data: bytes | None


@dataclass(slots=True)
class Content:
    """A file as the disk knows it; ``synced`` None: its name is not safe yet."""

    synced: bytearray | None
    unsynced: list[Written] = field(default_factory=list)


class Disk(apsw.VFS):
    """Files in a folder, which changes with every ``power_cut`` and every ``kill``. ``remove`` it at the end.

    ``decide`` is asked before every operation: None lets it happen, a fault makes it fail, and it may raise.
    """

    def __init__(self, folder: Path, chance: random.Random | None = None) -> None:
        self.name = next(NAMES)
        super().__init__(self.name, "unix")
        self._folder, self._lives = folder, count(1)
        self.chance = chance or random.Random(0)  # noqa: S311  # the same in every run
        self.contents: dict[str, Content] = {}
        self.deleted: dict[str, Content] = {}
        self.operations: list[Operation] = []
        self.decide: Callable[[Operation], Fault | None] = lambda _: None
        self.is_full = False
        self.folder = folder / "life-0"
        self.folder.mkdir(parents=True)

    def insert(self) -> None:
        """Make it the one that stores are opened on."""
        apsw.set_default_vfs(self.name)

    def remove(self) -> None:
        """Take it out, with all its files."""
        apsw.set_default_vfs("unix")
        self.unregister()
        shutil.rmtree(self._folder)

    def put(self, name: str, data: bytes) -> None:
        """Have a file on the disk, synced."""
        (self.folder / name).write_bytes(data)
        self.contents[name] = Content(bytearray(data))

    def power_cut(self) -> Path:
        """Go on in a new folder with what is left; return the old one, whose open files are nobody's any more."""
        left, others = dict(survivors(self, self.chance)), dict(beside(self, self.chance))
        self.contents, self.deleted = {name: Content(bytearray(data)) for name, data in left.items()}, {}
        return self._move(left | others)

    def kill(self) -> Path:
        """Go on in a new folder with all that was written, synced or not; return the old one."""
        return self._move({one.name: one.read_bytes() for one in self.on_disk()})

    def on_disk(self) -> list[Path]:
        """Return every file but those that are memory, in a settled order."""
        return sorted(one for one in self.folder.iterdir() if not one.name.endswith("-shm"))

    def _move(self, files: dict[str, bytes]) -> Path:
        before, self.folder = self.folder, self._folder / f"life-{next(self._lives)}"
        self.folder.mkdir()
        for name, data in files.items():
            (self.folder / name).write_bytes(data)
        return before

    def copy_to(self, folder: Path) -> None:
        """Write to ``folder`` what whoever reads the files now would find."""
        for name in self.contents:
            shutil.copyfile(self.folder / name, folder / name)

    def copy_synced_to(self, folder: Path) -> None:
        """Write to ``folder`` what is synced, and nothing else."""
        folder.mkdir(parents=True)
        for name, content in self.contents.items():
            if content.synced is not None:
                (folder / name).write_bytes(content.synced)

    def is_ours(self, path: Path) -> bool:
        """Tell whether a file is on the disk; those of the folder before are not."""
        return path.parent == self.folder

    def operate(self, kind: str, path: Path, size: int = 0) -> Fault | None:
        """Count an operation, and return how it fails; None if it doesn't."""
        operation = Operation(len(self.operations) + 1, kind, path.name, size)
        self.operations.append(operation)
        return self.decide(operation) or (Fault.FULL if self.is_full and kind == "write" else None)

    def note(self, path: Path, offset: int, data: bytes | None) -> None:
        """Remember what was written and is not synced."""
        self.contents[path.name].unsynced.append(Written(len(self.operations), offset, data))

    def sync(self, path: Path, fault: Fault | None) -> None:
        """Make safe what was written to the file; with a ``fault`` forget it."""
        content = self.contents[path.name]
        if fault is None:
            content.synced = bytearray() if content.synced is None else content.synced
            for written in content.unsynced:
                apply(content.synced, written.offset, written.data)
            self.deleted.pop(path.name, None)
        content.unsynced.clear()

    def xOpen(self, name, flags):  # noqa: N802  # APSW's name
        """See apsw.VFS.xOpen. A temporary file has no name, and nobody looks for it after a power cut."""
        if name is None:
            return apsw.VFSFile("unix", name, flags)
        return _File(self, name, flags)

    def xDelete(self, filename, syncdir):  # noqa: N802  # APSW's name
        """See apsw.VFS.xDelete."""
        path = Path(filename)
        if self.is_ours(path) and path.name in self.contents:
            fail(self.operate("delete", path))
            self.deleted[path.name] = self.contents.pop(path.name)
            if syncdir:
                del self.deleted[path.name]
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name, flags) -> None:
        super().__init__("unix", name, flags)
        self.disk = disk
        self.path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name)
        if disk.is_ours(self.path):
            disk.contents.setdefault(self.path.name, Content(None))

    def xWrite(self, data, offset):  # noqa: N802  # APSW's name
        if not self.disk.is_ours(self.path):
            return super().xWrite(data, offset)
        fault = self.disk.operate("write", self.path, len(data))
        if fault is Fault.SHORT:
            data = data[: len(data) // 2]
        if fault in {None, Fault.SHORT}:
            super().xWrite(data, offset)
            self.disk.note(self.path, offset, bytes(data))
        return fail(fault)

    def xTruncate(self, size):  # noqa: N802  # APSW's name
        if not self.disk.is_ours(self.path):
            return super().xTruncate(size)
        fail(self.disk.operate("truncate", self.path, size))
        super().xTruncate(size)
        return self.disk.note(self.path, size, None)

    def xSync(self, flags):  # noqa: N802  # APSW's name
        if not self.disk.is_ours(self.path):
            return
        fault = self.disk.operate("sync", self.path)
        self.disk.sync(self.path, fault)  # The real file is in memory or about to go: there is nothing to wait for.
        fail(fault)


def fail(fault: Fault | None) -> None:
    """Raise what SQLite would be told."""
    if fault is Fault.IO:
        raise apsw.IOError("the disk failed")
    if fault is not None:
        raise apsw.FullError("the disk was full")


def apply(content: bytearray, offset: int, data: bytes | None) -> None:
    """Do to ``content`` what was written; a hole before it is filled with zeros."""
    if data is None:
        del content[offset:]
    else:
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


# What chance leaves of what was not synced. Each takes the writes in their order and gives the pieces that are kept.

Kept = Iterator[tuple[int, bytes | None]]


def nothing(_writes: list[Written], _chance: random.Random, _until: int) -> Kept:
    """Keep only what was synced."""
    return iter(())


def everything(writes: list[Written], _chance: random.Random, _until: int) -> Kept:
    """Keep all that was written."""
    return ((one.offset, one.data) for one in writes)


def the_first(writes: list[Written], _chance: random.Random, until: int) -> Kept:
    """Keep what was written before a moment, over all files."""
    return ((one.offset, one.data) for one in writes if one.number <= until)


def some_writes(writes: list[Written], chance: random.Random, _until: int) -> Kept:
    """Keep some of the writes, whatever their order was."""
    share = chance.random()
    return ((one.offset, one.data) for one in writes if chance.random() < share)


def some_sectors(writes: list[Written], chance: random.Random, _until: int) -> Kept:
    """Keep some of the sectors of each write, and of some of those only the beginning."""
    share = chance.random()
    for one in writes:
        if one.data is None:
            if chance.random() < share:
                yield one.offset, None
            continue
        for start in range(0, len(one.data), SECTOR_BYTES):
            if chance.random() < share:
                size = SECTOR_BYTES if chance.random() < share else chance.randrange(SECTOR_BYTES)
                yield one.offset + start, one.data[start : start + size]


LEAVINGS = (nothing, everything, the_first, some_writes, some_sectors)


def survivors(disk: Disk, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Give every file that is there after a power cut."""
    leave = chance.choice(LEAVINGS)
    unsynced = [one.number for content in disk.contents.values() for one in content.unsynced]
    until = chance.randint(min(unsynced, default=0) - 1, max(unsynced, default=0))
    for name in sorted(disk.contents.keys() | disk.deleted.keys()):
        content = _under(name, disk, chance)
        if content is not None:
            left = bytearray(content.synced or b"")
            for offset, data in leave(content.unsynced, chance, until):
                apply(left, offset, data)
            yield name, bytes(left)


def beside(disk: Disk, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Give what is left of the files that SQLite does not write."""
    for path in disk.on_disk():
        if path.name not in disk.contents and chance.getrandbits(1):
            data = path.read_bytes()
            yield path.name, data[: chance.choice((len(data), chance.randint(0, len(data))))]


def _under(name: str, disk: Disk, chance: random.Random) -> Content | None:
    """Return the file that has the name: a new one, unless its name is lost; one that was deleted, if it is back."""
    new, old = disk.contents.get(name), disk.deleted.get(name)
    if new is not None and (new.synced is not None or chance.getrandbits(1)):
        return new
    return old if old is not None and chance.getrandbits(1) else None
