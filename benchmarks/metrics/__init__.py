"""One file a metric: pure functions, a thin torchmetrics state over them, and a ruler that feeds it from a subject."""
