"""What Studio remembers: the history of runs and the desk, in one SQL database."""

from hyperclova.studio.store.database import Database
from hyperclova.studio.store.desk import Desk
from hyperclova.studio.store.runs import Runs

__all__ = ["Database", "Desk", "Runs"]
