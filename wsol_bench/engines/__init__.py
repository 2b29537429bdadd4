"""Engines: who carries out the shards of an experiment."""
