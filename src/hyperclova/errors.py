"""Errors that a person can act on."""


class UserError(Exception):
    """Something the user can put right: a missing file, a wrong value, an incompatible model.

    The message is one line that names the file, line or field and the remedy. The command line
    prints it without a traceback and exits with status 2.
    """
