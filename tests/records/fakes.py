"""Invented records that the tests share."""

# the least that a run's record holds
RECORD = {"status": "finished", "seed": 0, "config_id": "0" * 8, "names": {"model": "vae"}, "data": {"id": "d"}}
