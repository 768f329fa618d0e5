"""An event loop on which waiting takes no time: once everything waits, its clock jumps to the next timer."""

import asyncio
import selectors


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """``on_jump`` is called with the loop's new time. A thread is waited for, and time stands still meanwhile."""

    def __init__(self, on_jump):
        super().__init__(_Jumping(self))
        self.now_s, self.threads, self.on_jump = 0.0, 0, on_jump

    def time(self):
        return self.now_s

    def run_in_executor(self, executor, func, *args):
        self.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._joined)
        return future

    def _joined(self, _):
        self.threads -= 1


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop):
        super().__init__()
        self.loop = loop

    def select(self, timeout=None):
        if self.loop.threads and timeout != 0:
            return super().select(None)
        assert timeout is not None, "everything waits for what never comes"
        self.loop.now_s += max(timeout, 0)
        self.loop.on_jump(self.loop.now_s)
        return super().select(0)
