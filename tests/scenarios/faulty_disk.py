"""A disk that fills, fails and loses its power: an APSW VFS in front of the real files.

It knows of every file what was synced, and forgets the rest in a power cut. A sync that fails loses what it should have
synced for good, as Linux does: the pages count as clean afterwards, and a later sync says nothing of them.
"""

from collections import defaultdict
from itertools import count
from pathlib import Path

import apsw

NAMES = (f"faulty-{number}" for number in count())


class FaultyDisk(apsw.VFS):
    """Make it the default VFS with ``insert``, and take it out again with ``remove``."""

    def __init__(self):
        self.name = next(NAMES)
        super().__init__(self.name, "unix")
        self.synced: dict[Path, bytearray] = {}
        self.unsynced: dict[Path, list[tuple[int, bytes | None]]] = defaultdict(list)
        self.operations: list[tuple[str, str]] = []
        self.fails_at: int | None = None
        self.fails_next: str | None = None
        self.is_full = False

    def insert(self):
        apsw.set_default_vfs(self.name)

    def remove(self):
        apsw.set_default_vfs("unix")
        self.unregister()

    def power_cut(self, folder: Path) -> Path:
        """Write to ``folder`` what is left, and return it."""
        folder.mkdir(parents=True)
        for path, content in self.synced.items():
            (folder / path.name).write_bytes(content)
        return folder

    def operate(self, kind: str, path: Path) -> None:
        """Count an operation, and fail it if it is the one that shall fail, or needs room that is not there."""
        self.operations.append((kind, path.name))
        if len(self.operations) == self.fails_at or kind == self.fails_next:
            self.fails_next = None
            if kind == "sync":
                self.unsynced[path].clear()
                raise apsw.IOError("the disk failed")
            raise apsw.FullError("the disk was full for a moment")
        if kind == "write" and self.is_full:
            raise apsw.FullError("the disk is full")

    def sync(self, path: Path) -> None:
        content = self.synced[path]
        for offset, data in self.unsynced.pop(path, ()):
            if data is None:
                del content[offset:]
            else:
                content.extend(bytes(max(0, offset - len(content))))
                content[offset : offset + len(data)] = data

    def xOpen(self, name, flags):  # noqa: N802  # APSW's name
        return _File(self, name, flags)

    def xDelete(self, filename, syncdir):  # noqa: N802  # APSW's name
        super().xDelete(filename, syncdir)
        self.synced.pop(Path(filename), None)
        self.unsynced.pop(Path(filename), None)


class _File(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name, flags):
        super().__init__("unix", name, flags)
        self.disk = disk
        self.path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name)
        if self.path not in disk.synced:
            disk.synced[self.path] = bytearray(self.path.read_bytes())

    def xWrite(self, data, offset):  # noqa: N802  # APSW's name
        self.disk.operate("write", self.path)
        super().xWrite(data, offset)
        self.disk.unsynced[self.path].append((offset, bytes(data)))

    def xTruncate(self, size):  # noqa: N802  # APSW's name
        super().xTruncate(size)
        self.disk.unsynced[self.path].append((size, None))

    def xSync(self, flags):  # noqa: N802  # APSW's name
        self.disk.operate("sync", self.path)
        super().xSync(flags)
        self.disk.sync(self.path)
