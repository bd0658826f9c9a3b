"""The Python interface: a run with its model, data, scores and pictures, and tables as pandas frames."""
