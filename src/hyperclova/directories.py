"""Where state and data live on this machine."""

import os
import sys
from pathlib import Path

from hyperclova.errors import UserError


def home() -> Path:
    """The directory for everything that must survive a restart (not created here).

    ``HYPERCLOVA_HOME`` if set, else the platform's directory for a user's application data.
    """
    chosen = os.environ.get("HYPERCLOVA_HOME")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "hyperclova"
    if sys.platform == "win32":
        return (
            Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "hyperclova"
        )
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "hyperclova"


def cache() -> Path:
    """The directory for what can be made again at any time (not created here)."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "hyperclova"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hyperclova"


def data() -> Path:
    """The directory of data sets, named by ``HYPERCLOVA_DATA``.

    Raises:
        UserError: the variable is unset or names no directory.
    """
    chosen = os.environ.get("HYPERCLOVA_DATA")
    if not chosen:
        raise UserError("HYPERCLOVA_DATA is not set: set it to the directory of your data sets")
    directory = Path(chosen).expanduser()
    if not directory.is_dir():
        raise UserError(f"HYPERCLOVA_DATA names {directory}, which is not a directory")
    return directory


def default_model() -> Path:
    """The model directory used when none is named: the one shipped in ``models/``.

    Looked for, in order: ``HYPERCLOVA_HOME/models/hyperclova-small`` (a newer one trained or
    fetched by the user), then ``models/hyperclova-small`` of the source checkout.

    Raises:
        UserError: neither exists.
    """
    name = "hyperclova-small"
    candidates = [home() / "models" / name, Path(__file__).parents[2] / "models" / name]
    for candidate in candidates:
        if (candidate / "config.json").is_file():
            return candidate
    raise UserError(
        f"no model found in {' or '.join(str(path) for path in candidates)}: "
        "name one with --model DIRECTORY"
    )
