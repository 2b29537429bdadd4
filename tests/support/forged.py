"""Files of a run that were changed, with checksums as if the run had written them so."""

import json

from wsol_bench.runs.checksums import Checksums, sha256
from wsol_bench.runs.manifest import _checksum, read_manifest
from wsol_bench.runs.table_files import to_parquet


def record(file):
    """Record a changed file of a part, or in the run's folder itself, as what the run wrote."""
    folder = file.parent if (file.parent / "manifest.json").exists() else file.parent.parent
    name = file.relative_to(folder).as_posix()
    Checksums(folder, read_manifest(folder).id).add({name: sha256(file.read_bytes())})


def write_content(folder, content):
    """Write a manifest of any content, with its checksum."""
    content = {key: value for key, value in content.items() if key != "checksum"}
    sealed = {**content, "checksum": _checksum(content)}
    (folder / "manifest.json").write_text(json.dumps(sealed))


def replace_table(run, table, number, frame):
    """Replace a table of one part."""
    file = run.path / table / f"{number:06d}.parquet"
    file.write_bytes(to_parquet(run.tables[table], frame))
    record(file)
