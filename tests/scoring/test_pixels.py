"""The scores of pixels against masks, by wsolevaluation and by hand."""

import numpy as np
import pytest
from PIL import Image
from scoring_cases import (
    blobs,
    boxes_in,
    curves_in,
    scored,
    scored_boxes,
    some_truths,
    truth_of,
)
from wsolevaluation import MaskEvaluator, normalize_scoremap

from wsol_bench.datasets import MaskFiles
from wsol_bench.geometry import Placement
from wsol_bench.metrics.pixel_ap import pixel_average_precision
from wsol_bench.protocols.load import load_protocol
from wsol_bench.scoring.upsampling import upsample


class TestPixels:
    PXAP = load_protocol("choe-2020-pxap")

    def mask_file(self, folder, pixels, name):
        Image.fromarray(np.asarray(pixels, np.uint8)).save(folder / name)
        return folder / name

    def counts(self, scores, row=0):
        """Foreground and background of a row."""
        assert set(scores.curves) == {"foreground", "background"}
        parts = (curves_in(scores, column)[row] for column in ("foreground", "background"))
        return [np.frombuffer(part, "<u4").astype(np.int64) for part in parts]

    def images(self, folder, n):
        """Truths whose masks are files, and those masks."""
        random = np.random.default_rng(6)
        for index in range(n):
            # The file has the half of the input's size, and black is no object.
            halves = random.choice([0, 1, 255], (112, 112), p=[0.6, 0.1, 0.3])
            ignored = random.choice([0, 255], (224, 224), p=[0.9, 0.1])
            files = MaskFiles(
                (self.mask_file(folder, halves, f"{index}.png"),),
                self.mask_file(folder, ignored, f"{index}_ignore.png"),
            )
            mask = (halves > 0).repeat(2, axis=0).repeat(2, axis=1).astype(np.uint8)
            mask[(ignored > 0) & (mask == 0)] = 255
            yield truth_of(mask=files), mask

    def test_px_ap_is_that_of_wsolevaluation(self, tmp_path):
        thresholds = np.arange(0, 1, 0.001)
        truths, masks = zip(*self.images(tmp_path, 3), strict=True)
        maps = blobs(3)
        scores = scored(maps, truths, self.PXAP)
        evaluator = MaskEvaluator(thresholds)
        pooled = np.zeros((2, 1001), np.int64)
        for index, large in enumerate(upsample(maps, (224, 224), self.PXAP.map)):
            scoremap, mask = normalize_scoremap(large), masks[index]
            evaluator.accumulate(scoremap, mask)
            ours = self.counts(scores, index)
            for kind, counts in zip((1, 0), ours, strict=True):
                theirs, _ = np.histogram(scoremap[mask == kind], np.append(thresholds, [1, 2]))
                assert counts.tolist() == theirs.tolist()
            assert sum(map(int, (one.sum() for one in ours))) == (mask != 255).sum() < 224**2
            pooled += ours
        assert pixel_average_precision(*pooled) == pytest.approx(evaluator.compute(), abs=1e-12)
        assert np.isnan(boxes_in(scores)).all() and "iou" not in scores.rows
        assert scores.status.tolist() == ["swept"] * 3

    @pytest.mark.parametrize("nothing", [0.0, 1.0, -4.0, np.nan])
    def test_a_constant_map_is_zeros(self, tmp_path, nothing):
        [(truth, mask)] = self.images(tmp_path, 1)
        maps = np.full((1, 7, 7), nothing, np.float32)
        foreground, background = self.counts(scored(maps, [truth], self.PXAP))
        assert foreground[0] == foreground.sum() == (mask == 1).sum()
        assert background[0] == background.sum() == (mask == 0).sum()

    def test_counts_are_of_the_label_alone(self, tmp_path):
        [(truth, _)] = self.images(tmp_path, 1)
        is_label, image = [False, True, False], [0, 0, 0]
        scores = scored(blobs(3), [truth], self.PXAP, image=image, is_label=is_label)
        assert scores.curve_rows.tolist() == [1]

    def test_the_mask_is_that_of_the_inputs_part_of_the_image(self, tmp_path):
        # The image is resized to 8 x 6 (height, width); the input is its rows 2..5, columns 1..4.
        mask = np.zeros((8, 6))
        mask[2, 1] = mask[5, 4] = mask[5, 1] = 255
        mask[1, 0] = mask[6, 5] = mask[2, 5] = 255
        files = MaskFiles((self.mask_file(tmp_path, mask, "mask.png"),), None)
        place = Placement(original=(16, 12), resized=(8, 6), offset=(2, 1), input=(4, 4))
        protocol = load_protocol("choe-2020-pxap", {"pixels": {"step": 0.25}})
        values = np.zeros((1, 4, 4))
        values[0, 0, 0], values[0, 3, 3], values[0, 3, 0], values[0, 0, 3] = 1, 0.5, 0.3, 0.75
        scores = scored(values, [truth_of(mask=files)], protocol, placements=[place])
        foreground, background = self.counts(scores)
        # Bins from 0, 0.25, 0.5 and 0.75 on, and the maximum.
        assert foreground.tolist() == [0, 1, 1, 0, 1]
        assert background.tolist() == [12, 0, 0, 1, 0]

    def test_an_image_without_a_mask_is_refused(self):
        with pytest.raises(ValueError, match="expected an image with a mask"):
            scored(blobs(1), some_truths(1), self.PXAP)

    def test_boxes_have_no_pixels(self):
        scores = scored_boxes([[0, 0, 9, 9]], some_truths(1), self.PXAP)
        assert len(scores.curve_rows) == 0
        assert "iou" not in scores.rows
        assert scores.status.tolist() == ["not_applicable"]
