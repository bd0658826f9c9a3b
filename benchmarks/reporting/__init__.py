"""From records to tables, statistics, verdicts and pages. Imports records only, and no torch."""
