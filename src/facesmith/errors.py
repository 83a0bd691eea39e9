"""What a user can mend."""


class UserError(Exception):
    """A mistake the user can mend: one line that names the file or key, what is wrong, and the mend.

    Entry points print it and exit with 1, without a traceback.
    """


class PrunedError(Exception):
    """No mistake: a sweep ends a job early that is not going to be among the best."""


class Interrupted(BaseException):  # like KeyboardInterrupt, no error
    """A run was asked to stop by a signal; `lines` tell how to go on.

    No `Exception`, so that a sweep ends with its job. Entry points print the lines and exit with `code`.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.lines: list[str] = []
        self.code = 128 + number
