"""The feature encoders that sample scores are measured with: their weights, their cards and their checksums."""
