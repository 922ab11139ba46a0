"""The web process is light: it never imports torch, and Studio is there at once."""

import subprocess
import sys
from collections.abc import Callable

import psutil

from studio_process import Server

PROGRAM = """
import sys
for name in ("torch", "safetensors", "transformers"):
    sys.modules[name] = None  # importing it raises ImportError
import hyperclova.studio.app, hyperclova.studio.server, hyperclova.cli.studio
from pathlib import Path
from hyperclova.studio.settings import Settings
assert hyperclova.studio.app.create_app(Settings(Path("model"))).title == "HyperCLOVA Studio"
"""


def test_imports_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_memory_of_the_web_process(
    server: Server, record_property: Callable[[str, object], None]
) -> None:
    process = psutil.Process(server.process.pid)
    loaded = {mapping.path for mapping in process.memory_maps()}
    assert not [path for path in loaded if "libtorch" in path]
    resident = process.memory_info().rss / 2**20
    record_property("MiB resident", round(resident))
    assert resident < 200
