"""Worker processes that don't outlive the program that started them."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Let this process end when its parent does, however that ends.

    For the initializer of a process pool: the workers of a program that was killed would wait for
    work for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
