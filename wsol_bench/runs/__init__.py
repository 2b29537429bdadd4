"""Runs: experiments that are evaluated part by part, stored, read, merged and scored again."""
