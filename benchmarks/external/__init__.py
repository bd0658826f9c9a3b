"""Rows that genbench did not train: submitted samples, exported generators and Python objects, from a check to a record."""
