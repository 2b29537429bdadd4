"""Tables of classes in their formats."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from wsol_bench.datasets.formats.class_tables import (
    read_classes,
    read_meta_mat,
    read_synset_mapping,
    read_synsets_csv,
)
from wsol_bench.errors import DatasetError

SYNSETS = [  # ILSVRC2012_ID, wnid, words, children
    (1, "n02119789", "kit fox, Vulpes macrotis", 0),
    (2, "n02012849", "crane", 0),
    (3, "n03126707", "crane", 0),
    (1000, "n03255030", "dumbbell", 0),
    (1001, "n00001740", "entity", 2),
    (1100, "n00021939", "artifact", 2),
]


def write_meta(path: Path, rows: list[tuple[int, str, str, int]]) -> None:
    fields = "ILSVRC2012_ID WNID words gloss num_children children wordnet_height num_train_images"
    synsets = np.zeros((len(rows), 1), dtype=[(name, object) for name in fields.split()])
    for synset, (number, wnid, words, children) in zip(synsets[:, 0], rows, strict=True):
        synset["ILSVRC2012_ID"], synset["WNID"], synset["words"] = float(number), wnid, words
        synset["gloss"], synset["num_children"] = "a gloss", float(children)
        synset["children"] = np.arange(children, dtype=np.float64)[None]
        synset["wordnet_height"], synset["num_train_images"] = 0.0, 1300.0
    savemat(path, {"synsets": synsets})


class TestClasses:
    expected = (
        ("n02119789", "kit fox, Vulpes macrotis", 1),
        ("n02012849", "crane", 2),
        ("n03126707", "crane", 3),
        ("n03255030", "dumbbell", 1000),
    )

    def test_meta_mat_gives_its_leaves(self, tmp_path: Path) -> None:
        write_meta(tmp_path / "meta.mat", SYNSETS)
        table = read_meta_mat(tmp_path / "meta.mat")
        assert tuple(table.itertuples(index=False, name=None)) == self.expected

    def test_meta_mat_of_a_single_synset(self, tmp_path: Path) -> None:
        write_meta(tmp_path / "meta.mat", SYNSETS[:1])
        assert read_classes(tmp_path / "meta.mat")["wnid"].tolist() == ["n02119789"]

    @pytest.mark.parametrize("content", [b"", b"not a MATLAB file at all" * 20])
    def test_what_is_no_meta_mat_is_an_error(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "meta.mat").write_bytes(content)
        with pytest.raises(DatasetError, match=r"meta\.mat: expected the devkit's struct array"):
            read_meta_mat(tmp_path / "meta.mat")

    def test_another_mat_file_is_an_error(self, tmp_path: Path) -> None:
        savemat(tmp_path / "meta.mat", {"other": np.zeros(3)})
        with pytest.raises(DatasetError, match="KeyError: 'synsets'"):
            read_meta_mat(tmp_path / "meta.mat")

    def test_synsets_csv(self, tmp_path: Path) -> None:
        path = tmp_path / "synsets.csv"
        rows = [f'{number},{wnid},0,"{words}"\n' for number, wnid, words, _ in SYNSETS]
        path.write_text("ILSVRC2012_ID,wnid,sorted_index,words\n" + "".join(rows))
        table = read_synsets_csv(path)
        assert tuple(table.itertuples(index=False, name=None)) == self.expected
        assert read_classes(path).equals(table)

    def test_a_synset_mapping_names_no_ids(self, tmp_path: Path) -> None:
        path = tmp_path / "LOC_synset_mapping.txt"
        path.write_text("n01440764 tench, Tinca tinca\n\nn02012849 crane\nn03126707\n")
        assert read_synset_mapping(path).to_numpy().tolist() == [
            ["n01440764", "tench, Tinca tinca", 0],
            ["n02012849", "crane", 0],
            ["n03126707", "n03126707", 0],
        ]

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("a.txt", "n1 x\nn1 y\n", "expected each wnid once, found 'n1' twice"),
            ("a.txt", "\n", "expected one class a line, found none"),
            ("a.csv", "wnid,words\nn1,x\n", "line 1: expected the columns ilsvrc2012_id,wnid"),
            ("a.csv", "ilsvrc2012_id,wnid,words\none,n1,x\n", "line 2: expected a whole number"),
            (
                "a.csv",
                f"ilsvrc2012_id,wnid,words\n\n{'9' * 30},n1,x\n",
                "line 3: expected a whole number",
            ),
            (
                "a.csv",
                "ilsvrc2012_id,wnid,words\n\x1c7,n1,x\n7,n2,x\n",
                "expected each ilsvrc_id once, found 7",
            ),
            (
                "a.csv",
                "ilsvrc2012_id,wnid,words\n7,n1,x\n7,n2,x\n",
                "expected each ilsvrc_id once, found 7",
            ),
        ],
    )
    def test_a_broken_table_is_an_error(
        self, tmp_path: Path, name: str, text: str, message: str
    ) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(DatasetError) as caught:
            read_classes(tmp_path / name)
        assert message in str(caught.value)
        assert name in str(caught.value)
