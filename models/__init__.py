"""The models that are compared: one file a paper, over the one training loop of `models.game`."""
