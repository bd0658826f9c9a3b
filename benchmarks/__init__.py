"""What is measured: the programs, the records they write, and the metrics."""

from benchmarks.signals import guard_imports

# here, because every program imports this file first
guard_imports()
