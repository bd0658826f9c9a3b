"""The error of data modules, in a file of its own so that programs can import it without torch."""


class DataError(Exception):
    """Data that are missing, damaged or unfit. The message says what is wrong and what to do."""
