"""The target-layer table: where the localization map of each architecture comes from."""

from dataclasses import dataclass, field

from wsol_bench.common.vocabulary import Layout, TokenGrid

__all__ = ["LAST_BLOCKS", "TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """A target layer: where activations and gradients are taken.

    Attributes:
        layer: dotted module name. In the table a position may count from the end (``features.-2``);
            a resolved target holds the plain name.
        then_relu: whether the activation is the functional ReLU of the module's output, which is
            the output of no module.
        layout: layout of the module's output: ``nchw``; ``nhwc``; ``tokens`` (n, tokens, c). None
            if the network is to be asked (``wsol_bench.capture.grids``).
        token_grid: the grid of patches among the tokens; None if the network is to be asked.
        all_patches: whether the tokens are patches alone, row by row: their grid then has the
            input's aspect, and the network need not be asked. Where stages have mixed the patches
            before, it could not tell.
        head: the linear layer (or 1x1 convolution) of a GAP + linear (or class convolution + GAP)
            head that directly follows the layer: the class weights of CAM. None if the network has
            no such head.
        excitation: map layer and contrast layer of excitation backprop; None if it is not defined
            for the network: linear bottlenecks, squeeze-excite and LayerNorm have no rule. It
            belongs to the network, so comparing targets leaves it out.
    """

    layer: str
    then_relu: bool = False
    layout: Layout | None = None
    token_grid: TokenGrid | None = None
    all_patches: bool = False
    head: str | None = None
    excitation: tuple[str, str] | None = field(default=None, compare=False)


# The map layer and the contrast layer of excitation backprop are, for VGG (pool4, relu7) and ResNet
# (layer3, pool5), those of TorchRay's benchmark, and for GoogLeNet (pool2, pool5) those of the
# authors' evaluation. Other map layers are chosen by analogy: AlexNet's last pooling but one, as
# for VGG; SqueezeNet's last pooling, which has the same stride; the pooling before Inception's
# first block; RegNet's stage before the last. DenseNet's transitions average values of both signs,
# which has no rule: its map layer is the end of its last block.
_POOL4 = "features.MaxPool2d-2"

# A head that pools the patch tokens reads those of the last block. If the network says that its
# head reads the class token, which patch tokens reach by attention alone, the layer is the norm
# before the last attention.
_LAST_BLOCK = "blocks.-1"
LAST_BLOCKS = {_LAST_BLOCK: "norm1", "beit.layers.-1": "layernorm_before"}

# Keyed by package and class name of the model. Activations are post-ReLU if the network has a ReLU.
TARGETS = {
    "torchvision/AlexNet": Target("features.-2", excitation=(_POOL4, "classifier.-2")),
    "torchvision/ConvNeXt": Target("features"),
    "torchvision/DenseNet": Target(
        "features", then_relu=True, head="classifier", excitation=("features", "features")
    ),
    "torchvision/EfficientNet": Target("features", head="classifier.-1"),
    "torchvision/GoogLeNet": Target("inception5b", head="fc", excitation=("maxpool2", "avgpool")),
    "torchvision/Inception3": Target("Mixed_7c", head="fc", excitation=("maxpool2", "avgpool")),
    "torchvision/MNASNet": Target("layers", head="classifier.-1"),
    "torchvision/MaxVit": Target("blocks.-1"),
    "torchvision/MobileNetV2": Target("features", head="classifier.-1"),
    "torchvision/MobileNetV3": Target("features"),
    "torchvision/RegNet": Target(
        "trunk_output", head="fc", excitation=("trunk_output.block3", "avgpool")
    ),
    "torchvision/ResNet": Target("layer4", head="fc", excitation=("layer3", "avgpool")),
    "torchvision/ShuffleNetV2": Target("conv5", head="fc"),
    "torchvision/SqueezeNet": Target(
        "features", head="classifier.1", excitation=("features.MaxPool2d-1", "features")
    ),
    "torchvision/SwinTransformer": Target("norm", layout="nhwc", head="head"),
    "torchvision/VGG": Target("features.-2", excitation=(_POOL4, "classifier.-3")),
    # Patch tokens of the last block's output do not reach the class token; those before its
    # attention do.
    "torchvision/VisionTransformer": Target("encoder.layers.-1.ln_1", layout="tokens"),
    "timm/Beit": Target(_LAST_BLOCK, layout="tokens"),
    "timm/ByobNet": Target("final_conv", head="head.fc"),
    "timm/ConvNeXt": Target("stages"),
    "timm/CspNet": Target("stages", head="head.fc"),
    "timm/DLA": Target("level5", head="fc"),
    "timm/DaVit": Target("stages"),
    "timm/DenseNet": Target("features", head="classifier", excitation=("features", "global_pool")),
    "timm/EdgeNeXt": Target("stages"),
    "timm/EfficientNet": Target("bn2", head="classifier"),
    "timm/Eva": Target(_LAST_BLOCK, layout="tokens"),
    "timm/FastVit": Target("final_conv", head="head.fc"),
    "timm/FocalNet": Target("norm", head="head.fc"),
    "timm/HighResolutionNet": Target("final_layer", head="classifier"),
    "timm/InceptionResnetV2": Target("conv2d_7b", head="classif"),
    "timm/InceptionV3": Target("Mixed_7c", head="fc"),
    "timm/InceptionV4": Target("features", head="last_linear"),
    "timm/MambaOut": Target("stages", layout="nhwc"),
    "timm/MaxxVit": Target("norm", head="head.fc"),
    "timm/MetaFormer": Target("stages"),
    "timm/MobileNetV3": Target("blocks"),
    "timm/NormFreeNet": Target("final_act", head="head.fc"),
    "timm/RegNet": Target("final_conv", head="head.fc", excitation=("s3", "head.global_pool")),
    "timm/ResNet": Target("layer4", head="fc", excitation=("layer3", "global_pool")),
    "timm/ResNetV2": Target("norm", head="head.fc"),
    "timm/SwinTransformer": Target("norm", layout="nhwc", head="head.fc"),
    "timm/SwinTransformerV2": Target("norm", layout="nhwc", head="head.fc"),
    "timm/TResNet": Target("body", head="head.fc"),
    "timm/VGG": Target("features.-2", excitation=(_POOL4, "pre_logits")),
    "timm/VisionTransformer": Target(_LAST_BLOCK, layout="tokens"),
    "timm/VovNet": Target("stages", head="head.fc"),
    # Of Hugging Face's heads, those of ViT and DeiT read the class token, and DINOv2's reads it
    # and the mean of the patches; the others pool the patches.
    "transformers/BeitForImageClassification": Target("beit.layers.-1", layout="tokens"),
    "transformers/CLIPForImageClassification": Target(
        "vision_model.encoder.layers.-1", layout="tokens", head="classifier"
    ),
    "transformers/ConvNextForImageClassification": Target("convnext.encoder.stages.-1"),
    "transformers/ConvNextV2ForImageClassification": Target("convnextv2.encoder.stages.-1"),
    "transformers/DeiTForImageClassification": Target(
        "deit.layers.-1.layernorm_before", layout="tokens"
    ),
    "transformers/DeiTForImageClassificationWithTeacher": Target(
        "deit.layers.-1.layernorm_before", layout="tokens"
    ),
    "transformers/Dinov2ForImageClassification": Target(
        "dinov2.encoder.layer.-1.norm1", layout="tokens"
    ),
    "transformers/Dinov2WithRegistersForImageClassification": Target(
        "dinov2_with_registers.encoder.layer.-1.norm1", layout="tokens"
    ),
    "transformers/EfficientNetForImageClassification": Target(
        "efficientnet.encoder.top_activation", head="classifier"
    ),
    "transformers/FocalNetForImageClassification": Target(
        "focalnet.layernorm", layout="tokens", all_patches=True, head="classifier"
    ),
    "transformers/HGNetV2ForImageClassification": Target("encoder.stages.-1", head="fc"),
    "transformers/MobileNetV1ForImageClassification": Target(
        "mobilenet_v1.layer.-1", head="classifier"
    ),
    "transformers/MobileNetV2ForImageClassification": Target(
        "mobilenet_v2.conv_1x1", head="classifier"
    ),
    "transformers/PoolFormerForImageClassification": Target("norm", head="classifier"),
    "transformers/PvtV2ForImageClassification": Target(
        "pvt_v2.encoder.layers.-1.layer_norm", layout="tokens", all_patches=True, head="classifier"
    ),
    "transformers/RegNetForImageClassification": Target(
        "regnet.encoder.stages.-1",
        head="classifier.-1",
        excitation=("regnet.encoder.stages.-2", "regnet.pooler"),
    ),
    "transformers/ResNetForImageClassification": Target(
        "resnet.encoder.stages.-1",
        head="classifier.-1",
        excitation=("resnet.encoder.stages.-2", "resnet.pooler"),
    ),
    "transformers/SiglipForImageClassification": Target(
        "vision_model.post_layernorm", layout="tokens", all_patches=True, head="classifier"
    ),
    "transformers/SwinForImageClassification": Target(
        "swin.layernorm", layout="tokens", all_patches=True, head="classifier"
    ),
    "transformers/Swinv2ForImageClassification": Target(
        "swinv2.layernorm", layout="tokens", all_patches=True, head="classifier"
    ),
    "transformers/ViTForImageClassification": Target(
        "vit.layers.-1.layernorm_before", layout="tokens"
    ),
    "wsol_bench/AlexNet": Target("relu5", excitation=("pool2", "relu7")),
    "wsol_bench/AlexNetGAP": Target("CAM_relu", head="CAM_fc", excitation=("norm2", "CAM_pool")),
    "wsol_bench/AlexNetStarGAP": Target("relu7", head="fc9", excitation=("norm2", "pool8_global")),
    "wsol_bench/GoogLeNet": Target(
        "inception_5b", head="loss3.classifier", excitation=("pool2", "pool5")
    ),
    "wsol_bench/GoogLeNetGAP": Target("CAM_relu", head="CAM_fc", excitation=("pool2", "CAM_pool")),
    "wsol_bench/NIN": Target("relu_cccp7", head="cccp8-1024", excitation=("pool2", "relu_cccp7")),
    "wsol_bench/VGG16": Target("relu5_3", excitation=("pool4", "relu7")),
    "wsol_bench/VGG16GAP": Target("CAM_relu", head="CAM_fc", excitation=("pool4", "CAM_pool")),
    # The class convolution is 3x3: its own output is the classes' maps.
    "wsol_bench/TSCAM": Target("head", head="head"),
    "wsol_bench/ShapesNet": Target("features", head="fc", excitation=("features.down2", "pool")),
    # Networks of wsolevaluation; those of ResNet-50 with CAM and ADL are torchvision's ResNet. The
    # class maps of the others, which are pooled last, have both signs: excitation has no rule.
    "wsol_bench/Acol": Target("classifier_A.3", head="classifier_A.4"),
    "wsol_bench/InceptionCam": Target("SPG_A3_2b", head="SPG_A4"),
    "wsol_bench/ResNetSpg": Target("layer4", head="SPG_A4"),
    "wsol_bench/VggCam": Target("relu", head="fc", excitation=("features.MaxPool2d-1", "avgpool")),
    "wsol_bench/VggSpg": Target("SPG_A_3", head="SPG_A_4"),
}
