"""The one error of the bench: something is missing or does not work, in words for the reader."""


class BenchFailure(Exception):
    """The bench cannot go on; the message says what is wrong and what to do."""
