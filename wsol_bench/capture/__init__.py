"""What map methods know of a network. The only package with hooks and function modes."""

from wsol_bench.capture.cost import Cost, Timestamp
from wsol_bench.capture.network import Precision, autocast, compile_up_to, evaluation_mode
from wsol_bench.capture.record import Layer, Plan, Probe, Record, capture

__all__ = [
    "Cost",
    "Layer",
    "Plan",
    "Precision",
    "Probe",
    "Record",
    "Timestamp",
    "autocast",
    "capture",
    "compile_up_to",
    "evaluation_mode",
]
