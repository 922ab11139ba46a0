"""Interruptions as by Ctrl-C."""

import gc
import signal
from collections.abc import Callable
from types import FrameType


class Interrupted(BaseException):
    """As ``KeyboardInterrupt`` is: futures keep an ``Exception`` of a callback to themselves."""


def interrupt(call: Callable[[], object], seconds: float) -> None:
    """Raise :class:`Interrupted` on the main thread so long after ``call`` has begun.

    Raises:
        AssertionError: it ended before, or ended well nevertheless.
        Exception: whatever it ends with instead.
    """

    def alarm(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, alarm)
    # hypothesis is told of collections: a signal that comes during one would interrupt that
    # callback, of which Python ignores what it raises.
    gc.disable()
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        call()
    except Interrupted:
        return
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    raise AssertionError("it was not interrupted")
