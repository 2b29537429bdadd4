"""The tables of papers that come with the package: experiment files, found by their names."""

from pathlib import Path

from wsol_bench.errors import ConfigError, did_you_mean

__all__ = ["table_file", "table_names", "table_purpose"]

# A checkout has the tables where all experiments are; in a wheel they lie in the package.
_FOLDERS = (
    Path(__file__).parents[2] / "experiments" / "papers",
    Path(__file__).with_name("tables"),
)


def table_names() -> list[str]:
    """The names of the tables, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def table_file(name: str) -> Path:
    """The experiment file of a table.

    Args:
        name: the name of a table, or the path of an experiment file (with its ending).

    Raises:
        ConfigError: there is no such table.
    """
    if Path(name).suffix in {".yaml", ".yml"}:
        if not Path(name).exists() and Path(name).name == name and Path(name).stem in table_names():
            raise ConfigError(f"{name} does not exist here; the table's name is {Path(name).stem}")
        return Path(name)
    if name not in table_names():
        raise ConfigError(
            f"unknown table {name!r}; "
            f"{did_you_mean(name, table_names(), listed_by='wsol-bench list papers')}"
        )
    return _folder() / f"{name}.yaml"


def table_purpose(name: str) -> str:
    """The first paragraph of a table's header: what it is."""
    lines: list[str] = []
    for line in table_file(name).read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or (lines and text.startswith("Command:")):
            break
        lines.append(text)
    return " ".join(lines).removeprefix("Purpose:").strip()


def _folder() -> Path:
    return next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[-1])
