"""The feature encoders of sample scores: their weights, cards and checksums."""
