"""The one error of this package."""


class ConfigError(Exception):
    """Something that the operator wrote or provided cannot be used.

    The text is one line for the operator: where (file and line where there is one), what is wrong, what to do. It
    quotes what was written; characters that would act on a terminal, or begin a new line, are shown by their names.
    """

    def __init__(self, text: str) -> None:
        super().__init__("".join(letter if letter.isprintable() else _named(letter) for letter in text))


def _named(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
