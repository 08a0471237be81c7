"""The one error of this package."""


class ConfigError(Exception):
    """Something that the operator wrote or provided cannot be used.

    The text is one line for the operator: where (file and line where there is one), what is wrong, what to do.
    """
