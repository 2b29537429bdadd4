"""The page's summary: what its table shows, how it is sorted, and what its buttons copy."""

import csv
import io

import pytest
from browser import Opened, evaluate, serious_faults
from page_overviews import (
    HOSTILE,
    a_run,
    go_to,
    line,
    number_info,
    overview_of,
    value,
    wait_for_address,
    write_page,
)

NUMBERS = [
    number_info("top1_cls_error"),
    number_info("loc_error"),
    number_info("mean_iou", better="higher"),
    number_info("energy", better="higher", percent=False, shown=False),
]
PAPER = {"value": 0.3, "source": "Somebody et al., table 1"}


def values(loc_error, mean_iou, **marks):
    return {
        "top1_cls_error": value(0.25, 0.125, 0.375),
        "loc_error": value(loc_error, loc_error - 0.0625, loc_error + 0.0625, **marks),
        "mean_iou": value(mean_iou, mean_iou - 0.03125, mean_iou + 0.03125),
        "energy": value(123.456),
    }


LINES = [
    line("beta", values(0.5, 0.5, mark="tied", p=0.25)),
    line("alpha", values(0.375, 0.25, mark="best", paper=PAPER)),
    line(
        "without",
        {"top1_cls_error": value(0.25, 0.125, 0.375)},
        status="not_applicable",
        reason="the network has no rule",
    ),
    line(HOSTILE, values(0.75, 0.75, p=0.001), layer='blocks, "3"'),
    line("lacking", {"top1_cls_error": value(0.25, 0.125, 0.375)}),
    line("random", values(0.9, 0.1), kind="baseline", layer=""),
    line("center", values(0.8, 0.2), kind="baseline", layer=""),
    line("swapped", values(0.85, 0.15), kind="sanity"),
    line("alpha", values(0.125, 0.5, mark="best"), model=1),
]
MODELS = [
    {"run": 0, "name": "squeezenet", "n_classes": 1000},
    {"run": 0, "name": "mobilenet", "n_classes": None},
]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    run = a_run(findings=["3 maps are zero", "<b>odd</b>"])
    overview = overview_of(LINES, NUMBERS, models=MODELS, runs=[run])
    return write_page(tmp_path_factory.mktemp("page") / "page.html", overview)


@pytest.fixture(scope="module")
def shared(page_file, browser):
    """The page of all tests here, since it takes a second to open."""
    opened = Opened(browser)
    yield opened(page_file), opened.faults
    opened.close()


@pytest.fixture
def page(shared):
    """The page as it is in the beginning, which may not have a fault at the end."""
    page, faults = shared
    go_to(page)
    yield page
    assert faults == []


def names(page):
    """The methods of the table from top to bottom, and the headings of their groups in brackets."""
    return page.evaluate("""() => [...document.querySelectorAll("tbody tr")].map((row) => {
        const link = row.querySelector("a");
        return link ? link.textContent : `[${(row.querySelector("strong") ?? row).textContent}]`;
    })""")


def cell(page, name, column, nth=0):
    row = page.locator("tbody tr", has=page.locator("a", has_text=name)).nth(nth)
    return row.locator(f'td[data-column="{column}"]')


def test_lines_stand_by_model_and_kind_in_the_order_of_the_experiment(page):
    assert names(page) == [
        *["[squeezenet]", "beta", "alpha", "without", HOSTILE, "lacking"],
        *["[Baselines]", "random", "center", "[Sanity checks]", "swapped"],
        *["[mobilenet]", "alpha"],
    ]


@pytest.mark.parametrize(
    ("column", "orders"),
    [
        # Lines without a value are last, whatever the direction. The better ones come first.
        ("loc_error", {"ascending": ["alpha", "beta"], "descending": [HOSTILE, "beta"]}),
        ("mean_iou", {"descending": [HOSTILE, "beta"], "ascending": ["alpha", "beta"]}),
    ],
)
def test_a_column_sorts_each_group(page, column, orders):
    header = page.locator(f'th[data-column="{column}"]')
    for nth, (direction, expected) in enumerate(orders.items()):
        header.locator("button").click()
        assert header.get_attribute("aria-sort") == direction
        shown = names(page)
        assert shown[1:3] == expected
        assert shown[4:6] == ["without", "lacking"]
        assert shown[7:9] == (["random", "center"] if nth else ["center", "random"])
        assert page.evaluate("document.activeElement.closest('th').dataset.column") == column
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "none"
    assert names(page)[1:3] == ["beta", "alpha"]
    wait_for_address(page, without=["order"])


def test_names_sort_and_the_address_keeps_the_order(page, opened):
    page.locator('th[data-column="method"] button').click()
    assert names(page)[1:6] == [HOSTILE, "alpha", "beta", "lacking", "without"]
    page.locator('th[data-column="method"] button').click()
    assert names(page)[1:6] == ["without", "lacking", "beta", "alpha", HOSTILE]
    wait_for_address(page, "order=-method")
    assert names(opened(page.evaluate("location.href")))[1:3] == ["without", "lacking"]


def test_a_cell_shows_number_interval_mark_and_the_papers_number(page):
    best = cell(page, "alpha", "loc_error")
    assert best.locator("b").inner_text() == "37.50"
    assert best.locator("small").inner_text() == "31.3–43.8"
    assert best.get_by_role("img", name="best").count() == 1
    assert best.locator(".summary-paper").inner_text() == "paper 30.001 (+7.50)"
    assert page.locator(".summary-papers li").all_inner_texts() == [PAPER["source"]]
    tied = cell(page, "beta", "loc_error")
    assert tied.get_by_role("img", name="tied").get_attribute("title").endswith("p = 0.25")
    assert tied.locator("b").count() == 0
    other = cell(page, "onerror", "loc_error")
    assert other.get_by_role("img").count() == 0
    assert cell(page, "lacking", "loc_error").inner_text() == "–"
    assert "Holm" in page.locator(".summary-legend").inner_text()


def test_marks_lie_on_the_scale_of_their_column(page):
    # From the least end of an interval, 0.0625 (alpha in mobilenet), to the greatest, 0.9625.
    strip = cell(page, "beta", "loc_error").locator(".summary-strip")
    assert strip.get_attribute("aria-hidden") == "true"
    place = strip.locator(".dot").evaluate("(dot) => parseFloat(dot.style.left)")
    assert place == pytest.approx(100 * (0.5 - 0.0625) / 0.9, abs=0.01)
    left, width = strip.locator(".range").evaluate(
        "({style}) => [parseFloat(style.left), parseFloat(style.width)]"
    )
    assert left == pytest.approx(100 * (0.4375 - 0.0625) / 0.9, abs=0.01)
    assert width == pytest.approx(100 * 0.125 / 0.9, abs=0.01)


def test_what_does_not_depend_on_the_method_stands_beside_the_model(page):
    assert page.locator('th[data-column="top1_cls_error"]').count() == 0
    heading = page.locator(".summary-model").first.inner_text()
    assert "top1 cls error 25.00%" in " ".join(heading.split())
    assert "1,000 classes" in heading
    assert "40 images" in heading
    assert "images on the blacklist: 3" in heading


def test_equal_numbers_that_are_marked_stay_a_column(tmp_path, opened):
    lines = [line(name, values(0.5, 0.5, mark="tied", p=1.0)) for name in ("one", "other")]
    page = opened(write_page(tmp_path / "page.html", overview_of(lines, NUMBERS)))
    assert page.locator('th[data-column="loc_error"]').count() == 1
    assert page.locator('th[data-column="mean_iou"]').count() == 0


def test_a_line_that_is_not_applicable_says_why(page):
    row = page.locator("tbody tr", has=page.locator("a", has_text="without"))
    assert row.locator(".summary-reason").inner_text() == "not applicable: the network has no rule"


def test_names_and_findings_are_text(page):
    assert page.locator(".summary img").count() == 0
    assert page.evaluate("window.ran") is None
    assert page.locator(".summary-findings li").all_inner_texts() == [
        "3 maps are zero",
        "<b>odd</b>",
    ]


def test_columns_are_chosen_and_the_address_keeps_them(page, opened):
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("energy").check()
    page.get_by_label("mean iou").uncheck()
    assert page.get_by_label("mean iou").evaluate("(box) => box === document.activeElement")
    wait_for_address(page, "columns=energy,-mean_iou")
    for shown in (page, opened(page.evaluate("location.href"))):
        columns = shown.locator("thead th").evaluate_all(
            "(all) => all.map((th) => th.dataset.column)"
        )
        assert "energy" in columns
        assert "mean_iou" not in columns
    assert cell(page, "beta", "energy").inner_text() == "123.5"
    page.get_by_role("button", name="Usual columns").click()
    wait_for_address(page, without=["columns"])
    page.keyboard.press("Escape")
    assert not page.get_by_label("energy").is_visible()


def copied(page, format_name):
    page.evaluate(
        """() => {
            window.copied = null;
            navigator.clipboard.writeText = async (text) => { window.copied = text; };
        }"""
    )
    page.locator(f".summary-tools [title*={format_name}]").click()
    page.wait_for_function("() => window.copied")
    return page.evaluate("window.copied")


def test_the_csv_holds_the_data(page):
    page.locator('th[data-column="loc_error"] button').click()
    rows = list(csv.DictReader(io.StringIO(copied(page, "CSV"))))
    order = [1, 0, 3, 2, 4, 6, 5, 7, 8]  # as the table is sorted
    assert [row["method"] for row in rows] == [LINES[i]["method"] for i in order]
    for row, i in zip(rows, order, strict=True):
        expected = LINES[i]
        assert row["model"] == MODELS[expected["model"]]["name"]
        assert row["layer"] == expected["layer"]
        assert row["kind"] == expected["kind"]
        assert row["status"] == expected["status"]
        for number in ("loc_error", "mean_iou"):
            found = expected["values"].get(number, {})
            for field, name in (
                ("value", number),
                ("low", f"{number}_low"),
                ("high", f"{number}_high"),
            ):
                assert row[name] == ("" if not found else str(found[field]))
        assert row["loc_error_mark"] == (expected["values"].get("loc_error", {}).get("mark") or "")
        assert float(row["cost_seconds"]) == 0.05
    assert rows[0]["loc_error_paper"] == "0.3"


def test_markdown_keeps_names_as_they_are(page):
    lines = copied(page, "Markdown").splitlines()
    titles = "model | kind | method | layer | top1 cls error (%) | loc error (%) | mean iou (%)"
    assert lines[0].startswith(f"| {titles} |")
    cells = {line.count("|") for line in lines[:11]}
    assert len(cells) == 1
    kinds = [line.split(" | ")[1] for line in lines[2:11]]
    assert kinds == ["method"] * 5 + ["baseline"] * 2 + ["sanity check", "method"]
    assert "**37.50** [31.3–43.8], paper 30.00 (1)" in lines[3]
    assert "50.00† [43.8–56.3]" in lines[2]
    assert "not applicable" in lines[4]
    assert "<" not in lines[5]
    assert "&#60;img src=x" in lines[5]
    for note in ("95% interval", "Bold:", "†:", "Papers: (1) Somebody et al., table 1."):
        assert note in lines[-1]


def test_markdown_explains_no_sign_that_it_does_not_have(tmp_path, opened):
    lines = [line("only", {"loc_error": value(0.5)}, threshold=None)]
    page = opened(write_page(tmp_path / "page.html", overview_of(lines, NUMBERS)))
    notes = copied(page, "Markdown").splitlines()[-1]
    assert notes == "imagenet, protocol gradcam-2017 (0123456789ab)."


def test_thresholds_of_a_sweep_are_the_best_and_the_selected_ones(tmp_path, opened):
    lines = [
        line("a", {"loc_error": value(0.5)}, threshold=0.2, selected_threshold=0.125),
        line("b", {"loc_error": value(0.5)}, threshold=0.3, selected_threshold=0.25),
        line("box", {"loc_error": value(0.5)}, threshold=None),
    ]
    overview = overview_of(lines, NUMBERS, runs=[a_run(kind="box_sweep")])
    page = opened(write_page(tmp_path / "page.html", overview))
    titles = page.locator("thead .summary-title").all_inner_texts()
    assert {"best threshold", "selected threshold"} < set(titles)
    for name, shown in (("threshold", "0.2 0.3 –"), ("selected_threshold", "0.125 0.25 –")):
        place = page.locator("thead th").evaluate_all(
            "(cells, name) => cells.findIndex((cell) => cell.dataset.column === name)", name
        )
        cells = page.locator(f"tbody tr:has(a) > :nth-child({place + 1})").all_inner_texts()
        assert " ".join(cells) == shown
    one = overview_of([lines[0], lines[2]], NUMBERS)
    page = opened(write_page(tmp_path / "one.html", one))
    assert "best threshold" not in page.locator("thead").inner_text()


def test_a_run_without_a_model_says_so(tmp_path, opened):
    models = [{"run": 0, "name": "-", "n_classes": None}]
    lines = [line("center", {"loc_error": value(0.5)}, kind="baseline", layer="")]
    page = opened(write_page(tmp_path / "page.html", overview_of(lines, NUMBERS, models=models)))
    assert page.locator(".summary-model strong").inner_text() == "no model"


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({"p": 0.25, "mark": "tied"}, False),
        ({"p": 0.001}, False),
        ({}, True),  # fewer than six images
    ],
)
def test_the_legend_tells_numbers_that_were_not_tested(tmp_path, opened, others, expected):
    lines = [
        line("one", {"loc_error": value(0.25, mark="best")}),
        line("other", {"loc_error": value(0.5, **others)}),
        line("center", {"loc_error": value(0.75)}, kind="baseline"),  # is never tested
    ]
    page = opened(write_page(tmp_path / "page.html", overview_of(lines, NUMBERS)))
    assert ("not tested" in page.locator(".summary-legend").inner_text()) == expected
    assert page.get_by_title("not tested against the best").count() == expected


def test_numbers_are_readable_whatever_their_sign_and_size(page):
    percent, plain = ({"percent": True}, {"percent": False})
    texts = evaluate(
        page,
        "numbers.js",
        "return argument.map(([name, ...rest]) =>"
        " ({ numberText, intervalText, fewDigits })[name](...rest));",
        [
            ["numberText", percent, -0.00001],
            ["numberText", percent, -0.03],
            ["numberText", plain, 12345.6],
            ["numberText", plain, -0.0],
            ["intervalText", percent, value(0.5, 0.25, 0.75)],
            ["intervalText", percent, value(-0.02, -0.03, -0.01)],
            ["intervalText", plain, value(0, -1.5, 2)],
            ["intervalText", percent, value(0, -0.0001, 0.5)],
            ["fewDigits", 12345.6, 4],
            ["fewDigits", 1.23456, 4],
        ],
    )
    assert texts == [
        *["0.00", "−3.00", "12346", "0"],
        *["25.0–75.0", "−3.0 to −1.0", "−1.5 to 2", "0.0–50.0"],
        *["12346", "1.235"],
    ]


def test_no_text_of_csv_is_a_formula(page):
    text = evaluate(
        page,
        "table_text.js",
        "return csvText(argument);",
        [["=1+2", "+1", "@sum", "-1", "-", "a=1"], [-0.5, 1, None, "", "plain", "=a,b"]],
    )
    assert text == "'=1+2,'+1,'@sum,'-1,-,a=1\n-0.5,1,,,plain,\"'=a,b\"\n"


def test_copying_works_without_the_right_to_the_clipboard(page):
    page.evaluate("""() => {
        navigator.clipboard.writeText = () => Promise.reject(new Error("no"));
        document.addEventListener("copy", () => {
            window.copied = document.activeElement.value;
        });
    }""")
    button = page.locator(".summary-tools [title*=CSV]")
    button.click()
    page.wait_for_function("() => window.copied?.startsWith('run,model,method')")
    assert button.inner_text() == "Copied"
    assert button.evaluate("(button) => button === document.activeElement")


def test_the_name_of_a_line_leads_to_its_images(page):
    link = page.locator("tbody a", has_text="alpha").nth(1)
    assert "line=8" in link.get_attribute("href")
    link.focus()
    page.keyboard.press("Enter")
    wait_for_address(page, "view=images", "model=1", "line=8")
    page.go_back()
    wait_for_address(page, without=["view"])


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_the_summary_is_accessible(page_file, opened, width, scheme):
    page = opened(page_file, viewport={"width": width, "height": 844}, color_scheme=scheme)
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
