"""``python -m hyperclova``: the command line where the console script is not on the path."""

from hyperclova.cli import main

main()
