"""wsolevaluation (Choe et al., CVPR 2020) step by step, one map and one threshold at a time.

Functions and classes bear its names; files, printing and options are left out.
"""

import cv2
import numpy as np


def normalize_scoremap(cam):
    if np.isnan(cam).any() or cam.min() == cam.max():
        return np.zeros_like(cam)
    cam = cam - cam.min()
    cam /= cam.max()
    return cam


def compute_bboxes_from_scoremaps(scoremap, scoremap_threshold_list, multi_contour_eval):
    """Boxes (x0, y0, x1, y1) at each threshold."""
    height, width = scoremap.shape
    scoremap_image = np.expand_dims((scoremap * 255).astype(np.uint8), 2)

    def scoremap2bbox(threshold):
        _, thr_gray_heatmap = cv2.threshold(
            src=scoremap_image,
            thresh=int(threshold * np.max(scoremap_image)),
            maxval=255,
            type=cv2.THRESH_BINARY,
        )
        contours = cv2.findContours(
            image=thr_gray_heatmap, mode=cv2.RETR_TREE, method=cv2.CHAIN_APPROX_SIMPLE
        )[0]
        if len(contours) == 0:
            return [(0, 0, 0, 0)]
        if not multi_contour_eval:
            contours = [max(contours, key=cv2.contourArea)]
        estimated_boxes = []
        for contour in contours:
            x, y, w, h = cv2.boundingRect(contour)
            estimated_boxes.append((x, y, min(x + w, width - 1), min(y + h, height - 1)))
        return estimated_boxes

    return [scoremap2bbox(threshold) for threshold in scoremap_threshold_list]


def resize_bbox(box, image_size, resize_size):
    """A box on an image (width, height), scaled to an image of another size."""
    (image_w, image_h), (new_w, new_h) = image_size, resize_size
    x0, y0, x1, y1 = box
    return (
        int(x0 * new_w / image_w),
        int(y0 * new_h / image_h),
        int(x1 * new_w / image_w),
        int(y1 * new_h / image_h),
    )


def calculate_iou(box_a, box_b):
    """wsolevaluation's calculate_multiple_iou, for two boxes."""
    across = max(0, min(box_a[2], box_b[2]) - max(box_a[0], box_b[0]) + 1)
    down = max(0, min(box_a[3], box_b[3]) - max(box_a[1], box_b[1]) + 1)
    area_a, area_b = (
        (x1 - x0 + 1) * (y1 - y0 + 1) for x0, y0, x1, y1 in (map(int, box_a), map(int, box_b))
    )
    return across * down / (area_a + area_b - across * down)


def box_hits(scoremap, gt_boxes, thresholds, least, multi_contour_eval):
    """BoxEvaluator.accumulate: at which thresholds the map is right."""
    boxes_at_thresholds = compute_bboxes_from_scoremaps(scoremap, thresholds, multi_contour_eval)
    return [
        any(calculate_iou(box, truth) >= least for box in boxes for truth in gt_boxes)
        for boxes in boxes_at_thresholds
    ]


class MaskEvaluator:
    def __init__(self, cam_threshold_list):
        self.num_bins = len(cam_threshold_list) + 2
        self.threshold_list_right_edge = np.append(cam_threshold_list, [1.0, 2.0, 3.0])
        self.gt_true_score_hist = np.zeros(self.num_bins, dtype=float)
        self.gt_false_score_hist = np.zeros(self.num_bins, dtype=float)

    def accumulate(self, scoremap, gt_mask):
        gt_true_scores = scoremap[gt_mask == 1]
        gt_false_scores = scoremap[gt_mask == 0]
        gt_true_hist, _ = np.histogram(gt_true_scores, bins=self.threshold_list_right_edge)
        self.gt_true_score_hist += gt_true_hist.astype(float)
        gt_false_hist, _ = np.histogram(gt_false_scores, bins=self.threshold_list_right_edge)
        self.gt_false_score_hist += gt_false_hist.astype(float)

    def compute(self):
        num_gt_true = self.gt_true_score_hist.sum()
        tp = self.gt_true_score_hist[::-1].cumsum()
        fn = num_gt_true - tp
        fp = self.gt_false_score_hist[::-1].cumsum()
        non_zero_indices = (tp + fp) != 0
        with np.errstate(invalid="ignore"):
            precision = tp / (tp + fp)
        recall = tp / (tp + fn)
        return (precision[1:] * np.diff(recall))[non_zero_indices[1:]].sum()
