"""What is measured: the programs, the records they write, and the metrics."""
