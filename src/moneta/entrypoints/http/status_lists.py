"""Status lists as they are served: built at most every few seconds, whoever asks, and kept by whoever wants to.

A process serves what it built for ``STATUS_LIST_AGE_S_MAX``; a cache on the way may keep an answer until
``STATUS_LIST_TTL_S`` after it was built, so that with the verifier's own ``ttl`` a lock is known within a minute.
"""

import hashlib
from collections import OrderedDict
from threading import Lock
from typing import Final

from moneta.application.ports import Hub
from moneta.application.status_lists import BuiltList, build_status_list
from moneta.domain.limits import STATUS_LIST_AGE_S_MAX, STATUS_LIST_TTL_S, STATUS_LISTS_KEPT_MAX
from moneta.entrypoints.answers import Answer

STATUS_LIST_MEDIA_TYPE: Final = "application/statuslist+jwt"
_FROM_ANYWHERE: Final = ((b"access-control-allow-origin", b"*"),)
"""A verifier may be a page in a browser; the list is public (Token Status List, section 8.1)."""


class StatusLists:
    """The lists that this process built last. Safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[str, BuiltList] = OrderedDict()

    def answer(self, hub: Hub, list_id: str) -> Answer:
        """Return the list of that id as an answer.

        Raises:
            NotFoundError: There is none.
        """
        # One is built at a time: of many who ask for the same at once, all but the first find it kept.
        with self._lock:
            built = self._kept.get(list_id)
            now = hub.now_s()
            if built is None or not 0 <= now - built.built_at < STATUS_LIST_AGE_S_MAX:
                built = self._build(hub, list_id)
        body = built.token.encode("ascii")
        kept_s = max(0, built.built_at + STATUS_LIST_TTL_S - now)
        return Answer(
            status=200,
            body=body,
            media_type=STATUS_LIST_MEDIA_TYPE.encode("ascii"),
            caching=((b"cache-control", f"public, max-age={kept_s}".encode("ascii")),),
            headers=((b"etag", f'"{hashlib.sha256(body).hexdigest()}"'.encode("ascii")), *_FROM_ANYWHERE),
        )

    def _build(self, hub: Hub, list_id: str) -> BuiltList:
        built = self._kept[list_id] = build_status_list(hub, list_id)
        self._kept.move_to_end(list_id)
        while len(self._kept) > STATUS_LISTS_KEPT_MAX:
            self._kept.popitem(last=False)
        return built
