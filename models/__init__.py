"""The models that are compared: one file per paper, over the one training loop of `models.game`."""
