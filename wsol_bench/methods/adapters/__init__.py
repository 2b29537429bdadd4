"""Map methods of other libraries, by the names of their classes: ``captum/LayerGradCam``.

A library is imported when one of its methods is asked for. ``pip install 'wsol-bench[peers]'``
installs all of them.
"""

from wsol_bench.methods.adapters.captum import captum_method
from wsol_bench.methods.adapters.pytorch_grad_cam import pytorch_grad_cam_method
from wsol_bench.methods.adapters.torchcam import torchcam_method
from wsol_bench.methods.base import cam_methods

__all__ = ["captum_method", "pytorch_grad_cam_method", "torchcam_method"]

cam_methods.family("captum")(captum_method)
cam_methods.family("pytorch_grad_cam")(pytorch_grad_cam_method)
cam_methods.family("torchcam")(torchcam_method)
