"""Folders packed into archives, by the tools that users have."""

import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

KINDS = ("stored.zip", "deflated.zip", "plain.tar")


def pack(folder: Path, archive: Path) -> Path:
    """Pack what is in a folder; the name of the archive tells how."""
    names = sorted(path for path in folder.rglob("*") if path != archive)
    if archive.suffix.lower() == ".tar":
        with tarfile.open(archive, "w") as tar:
            tar.add(folder, arcname=".")
        return archive
    method = zipfile.ZIP_STORED if "stored" in archive.name else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(archive, "w", method) as file:
        for path in names:
            file.write(path, path.relative_to(folder).as_posix())
    return archive


def pack_by_command(folder: Path, archive: Path) -> Path:
    """Pack what is in a folder as docs/datasets.md says: ``zip -0 -r`` or ``tar cf``."""
    command = ["tar", "cf", os.fspath(archive), "."]
    if archive.suffix == ".zip":
        command = ["zip", "-q", "-0", "-r", os.fspath(archive), "."]
    subprocess.run(command, cwd=folder, check=True)
    return archive


def archive_of(archive: Path, content: dict[str, bytes]) -> Path:
    """A tar or stored zip file of these members."""
    if archive.suffix.lower() == ".tar":
        with tarfile.open(archive, "w") as tar:
            for name, data in content.items():
                add(tar, name, data)
    else:
        with zipfile.ZipFile(archive, "w") as file:
            for name, data in content.items():
                file.writestr(name, data)
    return archive


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    """Add a member to a tar file, with fields of its header."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(data))
