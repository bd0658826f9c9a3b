"""What is compared: one file a paper, over the one training loop of `models.game`."""
