/**
 * The data of the page, as Python gives them (wsol_bench/report/page). The page gets them from two
 * sources: from its own file, or from `wsol-bench view`. Both are the interface `Source`.
 *
 * Everything that is a number of the protocol is a fraction from 0 to 1; the page shows percent.
 * Boxes are half-open x0, y0, x1, y1 in pixels of the original image, unless said otherwise.
 */

/** What the page knows when it opens: everything but images. */
export interface Overview {
  /** Title of the page: the names of its runs. */
  title: string;
  /** "file": a report, whose images are a sample; "server": all images, by `wsol-bench view`. */
  source: "file" | "server";
  /** Version of wsol_bench, and the time (ISO 8601, UTC) at which the page was made. */
  version: string;
  made: string;
  runs: Run[];
  models: Model[];
  lines: Line[];
  numbers: NumberInfo[];
  /** The names of outcomes; an outcome is stored as its position here, or 255 if it is not defined. */
  outcomes: OutcomeInfo[];
  /** How many images the runs have together, how many of them the page has, and how they were chosen. */
  n_images_of_runs: number;
  n_images: number;
  sampling: string;
  charts: Charts;
}

export interface Run {
  /** Short unambiguous name (of the folder), and the folder's path as it was given. */
  name: string;
  path: string;
  experiment: string;
  dataset: { name: string; n_images: number; fingerprint: string };
  protocol: { name: string; hash: string; paper: string; yaml: string };
  kind: "one_box" | "box_sweep" | "pixels";
  /** How a box is taken from a map; null under a protocol of pixels. */
  rule: Rule | null;
  /** Least IoU that is a hit; null under a protocol of pixels. */
  least_iou: number | null;
  /** Why the run has no maps of its networks (`maps: none`); empty if it keeps some. */
  no_maps: string;
  versions: Record<string, string>;
  /** Devices of the sessions, each once ("cpu", "cuda:0 NVIDIA ..."). */
  devices: string[];
  started: string;
  finished: string;
  /** Sentences that a reader of the numbers should know. */
  findings: string[];
}

/** The protocol's sections `map`, `box` and `scoring.frame`, as far as a box depends on them. */
export interface Rule {
  /** The protocol's own threshold; null under a sweep. */
  threshold: number | null;
  of: "maximum" | "range";
  measured_on: "upsampled" | "low_resolution";
  comparison: "at_least" | "above";
  connectivity: 4 | 8;
  extractor: "components" | "contours";
  component: "largest" | "all";
  rectify: "before_upsampling" | "after_upsampling" | "never";
  /** Pixels in which boxes are compared. */
  frame: "original" | "input";
}

/** A model of a run. */
export interface Model {
  run: number;
  /** Name in the experiment; "-" in a run without a model. */
  name: string;
  /** Name that no other model of the page has, without commas; addresses have it. */
  key: string;
  n_classes: number | null;
}

/** A line of the summary: a method at a target layer of a model of a run. */
export interface Line {
  run: number;
  /** Position in Overview.models. */
  model: number;
  method: string;
  layer: string;
  /** Shortest name that tells it from the other lines of its run and model. */
  name: string;
  /** Name that no other line of the page has, without commas; addresses have it. */
  key: string;
  kind: "method" | "baseline" | "sanity";
  /** "ok", or why it has no numbers. */
  status: "ok" | "not_applicable" | "no_images";
  reason: string;
  /** Numbers of images (n_images, n_skipped, n_blacklisted, ...), by the summary's column. */
  counts: Record<string, number>;
  /** The numbers, by name; a number without a value is missing. */
  values: Record<string, Value>;
  /** Mean cost of an image; null if unknown. */
  cost: { forward: number | null; backward: number | null; head: number | null; seconds: number | null };
  /**
   * The threshold of the line's boxes and outcomes: the protocol's, or, under a sweep, the best. null if
   * they depend on none.
   */
  threshold: number | null;
  /** Under a sweep, the threshold that is selected on other images for the same boxes; else null. */
  selected_threshold: number | null;
}

export interface Value {
  value: number;
  /** 95% interval; null if there is none. */
  low: number | null;
  high: number | null;
  /** "best" of the model's methods (several, if they are equal); "tied": does not differ from the best (paired, Holm). */
  mark: "best" | "tied" | null;
  /** Corrected p of the test against the best; null for the best, and where too few images are there for a test. */
  p: number | null;
  /** A paper's number for the same network and method; null if the experiment names none. */
  paper: { value: number; source: string } | null;
}

export interface NumberInfo {
  name: string;
  /** Title for people: "top-1 loc error". */
  title: string;
  meaning: string;
  better: "lower" | "higher";
  /** Whether it is a fraction that is shown in percent. */
  percent: boolean;
  /** Whether the summary shows it from the beginning. */
  shown: boolean;
}

export interface OutcomeInfo {
  name: string;
  title: string;
  meaning: string;
}

export interface Charts {
  /** Share of images that are right, by threshold, of lines under a sweep. */
  thresholds: ThresholdCurve[];
  /** Share of counted images whose label's box has at least an IoU, by IoU; of lines with one box. */
  ious: { line: number; ious: number[]; shares: number[] }[];
  /** Errors by the size of the object, the number of instances, and class. */
  by_size: Bin[];
  by_instances: Bin[];
  by_class: Bin[];
  /** By outcome, in the order of Overview.outcomes; those behind the last one do not occur. */
  failure_modes: { line: number; of: "top1" | "gt_known"; n_images: number[]; share: number[] }[];
  /** For each pair of lines of one run and model: images that both, only a, only b, none gets right. */
  agreement: { a: number; b: number; both: number; only_a: number; only_b: number; neither: number }[];
}

export interface ThresholdCurve {
  line: number;
  /** Number whose curve it is ("max_box_acc"), and its title. */
  number: string;
  title: string;
  thresholds: number[];
  shares: number[];
  /**
   * Best threshold, and the one that is selected on other images; null without a selection, and both
   * for boxes that come from no map.
   */
  best: number | null;
  selected: number | null;
  /** Images that the shares are of; the page's sample, or all of the run. */
  of: string;
}

export interface Bin {
  line: number;
  bin: string;
  /** For classes: the class in words. */
  words?: string;
  n_images: number;
  gt_known_loc_error: number | null;
  top1_loc_error: number | null;
  mean_iou: number | null;
}

/** The images of the page, column by column; position n is image n everywhere. */
export interface ImageIndex {
  ids: string[];
  /** Position in `classes` of each image's label. */
  label: Int32Array;
  classes: { wnid: string; words: string }[];
  height: Int32Array;
  width: Int32Array;
  n_boxes: Int32Array;
  /** Area of the largest box of the label as a fraction of the image; 0 without a box. */
  size: Float32Array;
  blacklisted: Uint8Array;
}

/** What a model says of each image of the page. */
export interface ModelColumns {
  /** 1 if the model was evaluated on the image. */
  evaluated: Uint8Array;
  /** 1 if the run selects a threshold on the image, which is then in no number. */
  held_out: Uint8Array;
  /** Rank of the label, from 1; 0 if unknown. Its probability; NaN if unknown. */
  label_rank: Int32Array;
  label_score: Float32Array;
  /**
   * First prediction: position in ImageIndex.classes (-1: none, also in a run without a model), and
   * its probability.
   */
  top1: Int32Array;
  top1_score: Float32Array;
}

/** The results of a line on each image of the page. */
export interface LineColumns {
  /** Outcome of the label's box (GT-known), and of the first prediction's; 255 if not defined. */
  gt_known: Uint8Array;
  top1: Uint8Array;
  /**
   * IoU of the label's box, and of the first prediction's; NaN if there is none (so everywhere under a
   * sweep or pixels).
   */
  iou: Float32Array;
  top1_iou: Float32Array;
  /** 1 if the line's errors or accuracies count the image. */
  counted: Uint8Array;
}

/** Everything of one image. */
export interface Detail {
  image: number;
  /** Ground-truth boxes of the label. */
  boxes: number[][];
  /** By run: where the network's input lies, [height, width] or [top, left]; null if not in the run. */
  placements: (Placement | null)[];
  /** By run: ground-truth boxes in the protocol's frame; null if there is none, or not in the run. */
  truth: (number[][] | null)[];
  rows: DetailRow[];
  /** By run: the mask that a protocol of pixels scores by; null under others, and if not in the run. */
  masks: (Mask | null)[];
  /** Bytes of all maps of `rows`: little-endian float16, deflated (zlib) and in base64. */
  pack: string;
  /** By run: weights of interpolation along an axis, by "before>after". */
  taps: Record<string, Taps>[];
  /** Why there is no picture; empty if there is one. */
  no_picture: string;
}

/** The mask of the label, in pixels of the network's input. */
export interface Mask {
  height: number;
  width: number;
  /** One byte a pixel, deflated (zlib) and in base64: 1 is object, 0 background, 255 ignored. */
  pack: string;
  /** Why it cannot be read; empty if it can. */
  problem: string;
}

export interface Placement {
  original: [number, number];
  resized: [number, number];
  offset: [number, number];
  input: [number, number];
}

/** The row of a line and a class of the image. */
export interface DetailRow {
  line: number;
  rank: number;
  /** wnid and words of the class, and whether it is the image's label. */
  class: string;
  words: string;
  is_label: boolean;
  /** Whether it is the label's row by which GT-known judges; of several, the first by rank. */
  is_judged: boolean;
  score: number | null;
  status: string;
  /**
   * The line's outcome for this box, as a position in Overview.outcomes: of the label's box (GT-known),
   * or of the first prediction's. null if it is not defined, and for other classes.
   */
  outcome: number | null;
  /** Box and its IoU at the line's threshold, as Python computed them; null if there is none. */
  box: [number, number, number, number] | null;
  iou: number | null;
  map: MapPlace | null;
  /** Why there is no map: a sentence that also says whether the box is stored; empty if there is one. */
  no_map: string;
  /** Further columns of the row (metrics per map). */
  values: Record<string, number>;
}

/** Place of a map in the unpacked bytes: position of its first value, and its size in cells. */
export interface MapPlace {
  first: number;
  height: number;
  width: number;
  /** The map's maximum in the method's unit; null if it is not finite. */
  scale: number | null;
  /** Whether it is a smaller picture of the map, which shows heat but gives no box (no slider). */
  reduced: boolean;
}

/** Interpolated sample i is the sum over t of weight[i * n + t] * sample number sample[i * n + t]. */
export interface Taps {
  n: number;
  /** base64 of little-endian int32 and float32. */
  sample: string;
  weight: string;
}

/** Where the page gets its data. */
export interface Source {
  overview: Overview;
  index(): Promise<ImageIndex>;
  /**
   * Curves over thresholds of lines under one threshold, from images that are drawn without regard to
   * outcomes. A server needs some time for them.
   */
  curves(): Promise<ThresholdCurve[]>;
  model(model: number): Promise<ModelColumns>;
  line(line: number): Promise<LineColumns>;
  image(image: number): Promise<Detail>;
  /** Address of a picture of the image, for <img src>: about 384 pixels, or larger if there is. */
  thumbnail(image: number): string;
  picture(image: number): string;
}

/** A map, ready for the box rule. */
export interface LocalizationMap {
  values: Float32Array;
  height: number;
  width: number;
}
