"""What may be imported without what."""

import subprocess
import sys

import pytest

WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "safetensors", "transformers"}:
            raise ImportError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
import importlib, pkgutil
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
print("imported")
"""


@pytest.mark.parametrize("floor", ["corpus", "tokenizer", "studio"])
def test_floors_that_live_without_torch(floor: str) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, f"hyperclova.{floor}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "imported", done.stderr


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys; sys.argv = ['hyperclova', '--help']\n"
        "from hyperclova.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'fastapi', 'tokenizers', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in ("tokenizer", "tokenize", "pretrain", "export", "generate", "studio"):
        assert verb in done.stdout
