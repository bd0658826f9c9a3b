"""Apart from the data modules, so that a program can name the error without importing torch."""


class DataError(Exception):
    """Data that is missing, damaged or unfit. The message says what is wrong and what to do."""
