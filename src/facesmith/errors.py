"""What a user can mend."""


class UserError(Exception):
    """A mistake the user can mend: one line that names the file or key, what is wrong, and the mend.

    Entry points print it and exit with 1, without a traceback.
    """


class PrunedError(Exception):
    """No mistake: a sweep ends a job early that is not going to be among the best."""
