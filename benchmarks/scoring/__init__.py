"""How a run is scored: the protocol, the scorer, restoring a trained model, the baseline rows, the feature cache."""
