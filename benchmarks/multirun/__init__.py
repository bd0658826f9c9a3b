"""Programs that run many runs: sweeps, searches of hyper-parameters, replays."""
