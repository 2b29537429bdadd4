"""The results of a run in Python: its tables, and what can be made of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd

from wsol_bench.calls import in_python, in_words_of_python, one_of, path_of, seed_of
from wsol_bench.common.files import require_writable, require_writable_folder
from wsol_bench.common.harmless import html_text, printable
from wsol_bench.common.progress import step
from wsol_bench.common.vocabulary import Choose, FigureFormat, PredictionFormat
from wsol_bench.errors import ConfigError, shown
from wsol_bench.report.analysis import analyze as analyze_runs
from wsol_bench.report.notebook import Analysis, Comparison, html_frame
from wsol_bench.report.run_comparison import compare as compare_runs
from wsol_bench.report.tables import columns_for_people, footer
from wsol_bench.report.written_tables import TableFormat
from wsol_bench.runs.identity import NO_MODEL
from wsol_bench.runs.results import StoredResults
from wsol_bench.runs.stored_run import REPORT, StoredRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Results"]


@dataclass(frozen=True, repr=False)
class Results(StoredResults):
    """A finished run: its tables, and what can be made of them. A notebook shows its summary.

    Attributes:
        summary: one line for each model x method x layer; fractions are in [0, 1].
        folder: the run's folder; for a run without ``out`` a temporary folder, which is deleted
            with these results.
        n_before: the number of parts that were done before this process began.
    """

    # A run that was scored again may lie in the temporary folder of another one.
    _made_from: StoredRun | None = field(default=None, repr=False)

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    def __repr__(self) -> str:
        """The methods and the folder of the run, and what to call next."""
        lines = self.summary
        models = ", ".join(name for name in dict.fromkeys(lines["model"]) if name != NO_MODEL)
        return printable(
            f"<Results: {lines['method'].nunique()} methods{models and f' of {models}'} on "
            f"{lines['n_images'].max()} images, {', '.join(dict.fromkeys(lines['protocol']))}, in "
            f"{self.path}; .summary .rows .images are tables, .analyze() .compare(other) .report() "
            ".show(image_id) .figures() .table() .rescore(protocol) .export(format)>"
        )

    def analyze(
        self,
        *,
        seed: int = 0,
        against: str | None = None,
        others: "Sequence[Results | Path | str]" = (),
    ) -> Analysis:
        """The numbers with 95% intervals, paired tests between methods, and failure modes.

        Args:
            seed: seed of the resamples and of the random signs of paired tests.
            against: the method that the other methods of its model are compared with; by default
                the first.
            others: runs to analyze together with this one, or their folders.

        Returns:
            The tables of ``wsol-bench analyze`` by name, such as ``intervals`` and ``comparisons``.
        """
        with in_words_of_python():
            runs = self._with(others)
            named = [name for run in runs for name in run.identity.named_metrics]
            return Analysis(analyze_runs(runs, seed=seed_of(seed), against=against), named)

    def compare(
        self, other: "Results | Path | str", *, seed: int = 0, tolerance: float = 0.0
    ) -> Comparison:
        """Compare this run with one that was made after a change: numbers, classes, images, boxes.

        Args:
            other: the other run, or its folder.
            seed: seed of the resamples and of the random signs of paired tests.
            tolerance: the largest difference that does not count as one.
        """
        with in_words_of_python():
            runs = self._with([other])
            found = compare_runs(*runs, seed=seed_of(seed), tolerance=tolerance)
        return Comparison(**vars(found))

    def rescore(
        self,
        protocol: str | Mapping[str, Any] | None = None,
        *,
        changes: str | Iterable[str] = (),
        out: Path | str | None = None,
        force: bool = False,
    ) -> "Results":
        """Score the stored maps again, without the network.

        Args:
            protocol: the name or the file of a protocol, or ``{"name": ..., changes}``; by default
                the run's own.
            changes: changes to the experiment, ``protocol.key=value`` or ``metrics=[...]`` each.
            out: the folder of the new run; by default a folder of the protocol's name in the run's
                folder ``rescored``, whose run is deleted first.
            force: whether to delete a run in ``out`` first.
        """
        from wsol_bench.runs.rescore import rescore

        given = dict(protocol) if isinstance(protocol, Mapping) else protocol
        with in_words_of_python():
            results = rescore(
                self.folder,
                given,
                overrides=_names(changes),
                out=None if out is None else path_of("out", out),
                force=force,
            )
        return Results(results.summary, results.folder, results.n_before, self.folder)

    def sensitivity(self, *, new_maps: bool = False, seed: int = 0) -> pd.DataFrame:
        """Measure how far each choice that the protocol's paper leaves open moves the numbers.

        Args:
            new_maps: whether to vary choices of the network's input, too, which runs it again.
            seed: seed of the random numbers.

        Returns:
            A line for each method, choice and number, with the paired 95% interval of the
            difference; fractions are in [0, 1].
        """
        from wsol_bench.report.sensitivity import sensitivity

        with in_words_of_python():
            return sensitivity(self.folder, new_maps=new_maps, seed=seed_of(seed)).numbers

    def report(
        self,
        out: Path | str | None = None,
        *,
        images: int = 500,
        seed: int = 0,
        others: "Sequence[Results | Path | str]" = (),
    ) -> Path:
        """Write the page of the run as one HTML file; return its path.

        Args:
            out: the file; by default ``report.html`` in the run's folder.
            images: the largest number of images on the page.
            seed: seed of the sample of images, and of intervals.
            others: runs that stand on the page, too, or their folders; then ``out`` is needed.
        """
        from wsol_bench.report.page.file import write_report

        with in_words_of_python():
            runs = self._with(others)
            file = _place_of(runs, out, REPORT)
            require_writable(file)
            write_report(runs, file, n_images=images, seed=seed_of(seed))
        return file

    def table(
        self,
        table_format: TableFormat = "markdown",
        *,
        numbers: str | Sequence[str] | None = None,
        intervals: bool = False,
        seed: int = 0,
        others: "Sequence[Results | Path | str]" = (),
    ) -> str:
        """The table of a paper as text: methods by model, the best bold.

        The second best is underlined if another one is worse.

        Args:
            table_format: ``markdown``, ``latex`` (its first line names the packages that it needs)
                or ``csv``.
            numbers: the names of the numbers, each a column; by default those that ``analyze``
                shows.
            intervals: whether each number has its 95% interval.
            seed: seed of the bootstrap of intervals.
            others: runs that stand in the table, too, or their folders.
        """
        from wsol_bench.report.paper_table import paper_table

        with in_words_of_python():
            return paper_table(
                self._with(others),
                table_format=one_of("table_format", table_format, get_args(TableFormat)),
                numbers=_names(numbers),
                intervals=intervals,
                seed=seed_of(seed),
            )

    def figures(
        self,
        out: Path | str | None = None,
        *,
        formats: FigureFormat | Sequence[FigureFormat] = ("png", "pdf"),
        others: "Sequence[Results | Path | str]" = (),
        **choice: Any,
    ) -> list[Path]:
        """Draw images with maps, curves and bars, fit for a paper; return the files.

        Args:
            out: their folder; by default ``figures`` in the run's folder.
            formats: the format of each figure, or several.
            others: runs that the figures show, too, or their folders; then ``out`` is needed.
            choice: the images and methods, by the attributes of ``report.figures.choice.Choice``:
                ``choose`` (random, best, worst, differ), ``ids``, ``class_name``, ``methods``,
                ``models``, ``n``, ``seed``.
        """
        from wsol_bench.report.figures.choice import Choice
        from wsol_bench.report.figures.files import write_figures

        with in_words_of_python():
            known = [field.name for field in fields(Choice)]
            for name in choice:
                one_of("the choice of images and methods", name, known)
            one_of("choose", choice.get("choose", "random"), get_args(Choose))
            named = {name: _names(choice.get(name)) for name in ("ids", "methods", "models")}
            chosen = Choice(**{**choice, **named, "seed": seed_of(choice.get("seed", 0))})
            formats = _names(formats) or get_args(FigureFormat)
            wanted = [one_of("formats", one, get_args(FigureFormat)) for one in formats]
            runs = self._with(others)
            folder = _place_of(runs, out, "figures")
            require_writable_folder(folder)
            written = write_figures(runs, folder, chosen, formats=wanted)
        for text in filter(None, (*written.remarks, *written.without_picture[:1])):
            step(in_python(text))
        return written.files

    def export(
        self,
        prediction_format: PredictionFormat,
        out: Path | str | None = None,
        *,
        devkit: Path | str | None = None,
        tight: "Results | Path | str | None" = None,
    ) -> list[str]:
        """Write the boxes as files that official tools read.

        Args:
            prediction_format: ``devkit`` or ``kaggle``.
            out: the folder of the files; by default ``predictions`` in the run's folder.
            devkit: folder of the ILSVRC devkit, if the run's data set has no class IDs.
            tight: the same run rescored at a higher threshold; each image then has five boxes.

        Returns:
            For each model, method and layer its file and how to score it, or why there is none.
        """
        from wsol_bench.report.export import export_run

        with in_words_of_python():
            return list(
                export_run(
                    self.folder,
                    self.path / "predictions" if out is None else path_of("out", out),
                    format=one_of(
                        "prediction_format", prediction_format, get_args(PredictionFormat)
                    ),
                    devkit=None if devkit is None else path_of("devkit", devkit),
                    tight=None if tight is None else self._with([tight])[1],
                )
            )

    def show(
        self,
        image_id: str,
        *,
        methods: str | Sequence[str] | None = None,
        models: str | Sequence[str] | None = None,
    ) -> "Figure":
        """Draw an image with its ground truth, and beside it the map and the box of each method.

        Args:
            image_id: the image's id, as the table ``images`` has it.
            methods, models: names of methods and models; None for all.
        """
        from wsol_bench.report.figures.images import figure_of_image

        with in_words_of_python():
            return figure_of_image(
                self.folder, str(image_id), methods=_names(methods), models=_names(models)
            )

    def _with(self, others: "Sequence[Results | Path | str]") -> list[StoredRun]:
        """This run and others; ConfigError if one is no run, RunError if it cannot be read."""
        runs = [self.folder]
        for other in [others] if isinstance(others, Results | str | Path) else others or ():
            if not isinstance(other, Results | str | Path):
                raise ConfigError(
                    "other: expected results of another run, or its folder, found "
                    f"{type(other).__name__}"
                )
            runs.append(other.folder if isinstance(other, Results) else StoredRun(Path(other)))
        return runs

    def _repr_html_(self) -> str:
        """The summary, with what the run found odd."""
        named = self.folder.identity.named_metrics
        findings = [finding.sentence for finding in self.findings]
        paragraphs = [*footer(self.summary, findings), f"Run: {self.path}"]
        below = "".join(f"<p>{html_text(text)}</p>" for text in paragraphs)
        return html_frame(columns_for_people(self.summary, named)) + below


def _names(given: Any) -> Any:
    """Names as a list, of which one may be given as it is; None for none.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(given, str):
        return [given]
    if given is None or (
        isinstance(given, Iterable) and all(isinstance(one, str) for one in given)
    ):
        return given
    raise ConfigError(f"expected a name or a list of names, found {shown(given)}")


def _place_of(runs: Sequence[StoredRun], out: Path | str | None, name: str) -> Path:
    """The given place of files, or a name in the folder of a single run."""
    if out is None and len(runs) > 1:
        raise ConfigError(
            f"out: expected the place of what is written of {len(runs)} runs, found none"
        )
    return runs[0].path / name if out is None else path_of("out", out)
