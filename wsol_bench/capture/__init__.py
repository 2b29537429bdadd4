"""The one pass of a batch through a network, its record, and a probe to ask the network again."""

from wsol_bench.capture.cost import Cost
from wsol_bench.capture.forward_pass import BestClasses
from wsol_bench.capture.network import Precision, autocast, compile_up_to, evaluation_mode
from wsol_bench.capture.probe import Probe, capture
from wsol_bench.capture.record import Layer, Plan, Record

__all__ = [
    "BestClasses",
    "Cost",
    "Layer",
    "Plan",
    "Precision",
    "Probe",
    "Record",
    "autocast",
    "capture",
    "compile_up_to",
    "evaluation_mode",
]
