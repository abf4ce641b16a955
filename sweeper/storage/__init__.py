"""Runs in object storage: a folder of this machine, mirrored in a bucket."""
