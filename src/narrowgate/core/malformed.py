"""The one error with which understanding a request can end."""


class Malformed(Exception):
    """The request is not one the gate will interpret; `code` is the HTTP status it is answered with.

    The message is for the sender: what was wrong, where, what to do; lower case, no class names.
    """

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
