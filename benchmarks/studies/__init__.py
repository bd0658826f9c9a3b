"""Programs that measure genbench itself: the cost of scoring, the cost of a report, the coverage of intervals."""
