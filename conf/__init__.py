"""Hydra's configuration groups; they mirror the packages."""
