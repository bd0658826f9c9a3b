"""What lies on disk: paths, atomic files, configurations, runs, searches. Needs no torch."""
