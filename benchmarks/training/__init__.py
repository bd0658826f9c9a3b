"""How a run is trained: its configuration, the training loop's callbacks, checkpoints, the record, pictures, loggers."""
