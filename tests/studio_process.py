"""A running ``hyperclova studio``, and what tests want to know of it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

PATIENCE = 180.0  # seconds; generous, for machines that do other things at the same time


class Server:
    """One ``hyperclova studio`` process and what tests want to know of it."""

    def __init__(self, model: Path | None, home: Path, *arguments: str) -> None:
        command = [sys.executable, "-c", "from hyperclova.cli import main; main()", "studio"]
        named = () if model is None else ("--model", str(model))
        self.home = home
        self.log = home / "studio.log"
        home.mkdir(parents=True, exist_ok=True)
        self.output: list[str] = []
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*command, *named, "--port", "0", *arguments],
                env={**os.environ, "HYPERCLOVA_HOME": str(home), "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)
            found = re.search(r"Studio: (http://\S+)", line)
            if found:
                self.address = found[1]
                return
        raise AssertionError(f"Studio did not start: {self.output} {self.log.read_text()}")

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"{self.address}/api/status").json()
        return answer

    def wait_until_ready(self) -> "Server":
        wait_for(lambda: self.status()["state"] == "ready", "the engine to be ready")
        return self

    def engine(self) -> psutil.Process:
        """The engine's process: the one child of the web process."""
        (child,) = psutil.Process(self.process.pid).children()
        return child

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def wait_for(condition: Any, what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)
