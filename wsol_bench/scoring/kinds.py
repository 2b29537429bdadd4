"""The three kinds of scoring, and which one a protocol asks for.

No other module of ``scoring`` asks which kind a protocol is.
"""

from collections.abc import Sequence

from wsol_bench.metrics.base import Metric
from wsol_bench.metrics.max_box_acc import MAX_BOX_ACC_IOU
from wsol_bench.protocols.model import BoxSweepProtocol, OneBoxProtocol, PixelProtocol, Protocol
from wsol_bench.scoring.base import Scoring
from wsol_bench.scoring.box_sweep import BoxSweep
from wsol_bench.scoring.one_box import OneBox
from wsol_bench.scoring.pixels import Pixels

__all__ = ["default_metrics", "scoring_of"]

_MAP_METRICS = ("pointing_game", "pointing_game_15px", "energy_pointing_game")
_TOP_K_LOC = ("max_top1_loc", "max_top5_loc", "top1_loc_at_gt_known", "top5_loc_at_gt_known")


def scoring_of(protocol: Protocol, metrics: Sequence[Metric]) -> Scoring:
    """The scoring of a protocol.

    Args:
        protocol: a protocol of one of the three kinds.
        metrics: the metrics to compute in addition to the protocol's own numbers.

    Raises:
        TypeError: the protocol is of none of the three kinds.
    """
    match protocol:
        case OneBoxProtocol():
            return OneBox(protocol, metrics)
        case BoxSweepProtocol():
            return BoxSweep(protocol, metrics)
        case PixelProtocol():
            return Pixels(protocol, metrics)
    raise TypeError(f"expected a protocol of one of three kinds, found {type(protocol).__name__}")


def default_metrics(protocol: Protocol) -> tuple[str, ...]:
    """The names of the metrics that a protocol reports unless an experiment names others."""
    match protocol:
        case OneBoxProtocol():
            return ("mean_iou", "box_acc_area", *_MAP_METRICS)
        case BoxSweepProtocol() if MAX_BOX_ACC_IOU in protocol.scoring.ious:
            return (*_TOP_K_LOC, *_MAP_METRICS)
    return _MAP_METRICS
