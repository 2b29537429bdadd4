"""The page's charts: what they draw, which lines they choose, their tables, and their clicks."""

import pytest
from browser import Opened, serious_faults
from page_charts import CURVE, NUMBERS, cost, legend, numbers, table, traces, wait
from page_overviews import (
    HOSTILE,
    OUTCOMES,
    a_run,
    go_to,
    line,
    number_info,
    overview_of,
    value,
    wait_for_address,
    write_page,
)

# Ten methods, two of them with equal numbers; baselines, a sanity check, a method of another model.
ERRORS = [0.5, 0.25, 0.75, 0.875, 0.625, 0.375, 0.4375, 0.5625, 0.6875, 0.25]
LINES = [
    *[
        line(f"method {i}", numbers(error), cost=cost(1, i, 0.01 * (i + 1)))
        for i, error in enumerate(ERRORS)
    ],
    line("center", numbers(0.5, 1.0), kind="baseline", cost=cost(0, 0, 0.0)),
    line("swapped", numbers(0.9, 1.5), kind="sanity"),
    line(HOSTILE, numbers(0.125), model=1, cost=cost(1, 6, 0.1)),
    line("no number", {}, status="not_applicable", reason="no rule"),
]
MODELS = [
    {"run": 0, "name": "squeezenet", "n_classes": 1000},
    {"run": 0, "name": "mobilenet", "n_classes": 20},
]
USUAL = [0, 1, 4, 5, 6, 7, 8, 10]  # without 9, which equals 1, and the two that are worst


def a_bin(line, name, error, **fields):
    rates = {"gt_known_loc_error": error, "top1_loc_error": error, "mean_iou": 1 - error}
    return {"line": line, "bin": name, "n_images": 4, **rates, **fields}


FAILURES = {"gt_known": [20, 0, 0, 4, 6, 10, 0], "top1": [10, 20, 0, 0, 0, 10, 0]}
CHARTS = {
    "thresholds": [{**CURVE, "line": i} for i in (0, 1, 2)],
    "ious": [{"line": i, "ious": [0.0, 0.5, 1.0], "shares": [1.0, 0.5, 0.0]} for i in range(13)],
    "by_size": [a_bin(i, name, 0.5) for i in range(13) for name in ("0.01-0.04", "0-0.01")],
    "by_instances": [a_bin(i, name, 0.25) for i in range(13) for name in ("1", "2", "5+")],
    "by_class": [
        *(a_bin(1, f"n{k:08d}", k / 1000, words=f"Class {k}") for k in range(1, 1000)),
        a_bin(1, "n99999999", 1.0, words=HOSTILE),
        a_bin(0, "n00000001", 1.0, words="Class 1"),
    ],
    "failure_modes": [
        {"line": i, "of": of, "n_images": images, "share": [n / 40 for n in images]}
        for i in range(13)
        for of, images in FAILURES.items()
    ],
    "agreement": [
        {"a": a, "b": b, "both": 12, "only_a": a, "only_b": 4, "neither": 24 - a}
        for a in range(12)
        for b in range(a + 1, 12)
    ],
}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    overview = overview_of(LINES, NUMBERS, models=MODELS, charts=CHARTS)
    return write_page(tmp_path_factory.mktemp("page") / "page.html", overview)


@pytest.fixture(scope="module")
def shared(page_file, browser):
    """The page of most tests here, since it takes seconds to open."""
    opened = Opened(browser)
    yield opened(f"{page_file.as_uri()}#view=charts"), opened.faults
    opened.close()


@pytest.fixture
def charts(shared):
    """Shows the charts at a state, and returns the page when they are drawn."""
    page, faults = shared

    def show(state=""):
        go_to(page, f"view=charts&{state}")
        wait(page)
        return page

    yield show
    assert faults == []


def test_numbers_are_drawn_with_their_intervals(charts):
    page = charts()
    first, second = traces(page, "intervals")
    assert first["customdata"] == list(range(12))
    assert second["customdata"] == [12]
    for trace in (first, second):
        for i, x, low, high in zip(
            trace["customdata"],
            trace["x"],
            trace["error_x"]["arrayminus"],
            trace["error_x"]["array"],
            strict=True,
        ):
            number = LINES[i]["values"]["gt_known_loc_error"]
            assert x == pytest.approx(100 * number["value"])
            assert x - low == pytest.approx(100 * number["low"])
            assert x + high == pytest.approx(100 * number["high"])
    # The best method is on top, and baselines and sanity checks stand below all methods.
    height = dict(zip(first["customdata"], first["y"], strict=True))
    methods = sorted(range(10), key=lambda i: ERRORS[i])
    assert sorted(methods, key=height.get) == methods
    assert max(height[i] for i in methods) < height[10] < height[11]
    assert legend(page, "intervals") == ["squeezenet", "mobilenet"]


def test_the_number_can_be_chosen(charts):
    page = charts()
    page.locator(".chart-bar select").first.select_option("score")
    wait_for_address(page, "number=score")
    wait(page)
    assert traces(page, "intervals")[0]["x"][10] == 1.0


def test_costs_stand_on_a_logarithmic_axis_with_a_place_for_no_cost(charts):
    page = charts()
    marks = [trace for trace in traces(page, "cost") if trace["mode"] == "markers"]
    place = dict(zip(marks[0]["customdata"], marks[0]["x"], strict=True))
    assert [place[i] for i in range(10)] == [1 + i for i in range(10)]
    assert 0 < place[10] < 1
    assert 11 not in place
    front = next(trace for trace in traces(page, "cost") if trace["mode"] == "lines")
    # center costs nothing, and method 1 is the cheapest of those that are better.
    assert front["x"] == [place[10], place[1]]
    assert front["y"] == [50, 25]
    page.locator("[data-chart=cost] select").select_option("seconds")
    wait_for_address(page, "cost=seconds")
    wait(page)
    marks = [trace for trace in traces(page, "cost") if trace["mode"] == "markers"]
    assert marks[0]["x"][:10] == pytest.approx([0.01 * (i + 1) for i in range(10)])
    rows = table(page, "cost")
    assert rows[1] == ["center", "squeezenet", "50.00", "0"]


def test_few_lines_are_drawn_unless_the_reader_chooses(charts):
    page = charts()
    drawn = [trace["customdata"][0] for trace in traces(page, "ious")]
    assert drawn == USUAL
    assert "method 1 = method 9" in page.locator(".chart-about").inner_text()
    assert len({(t["line"]["color"], t["line"]["dash"]) for t in traces(page, "ious")}) == len(
        USUAL
    )
    page.get_by_text(f"usual: {len(USUAL)} of {len(LINES)}").click()
    page.get_by_role("checkbox", name="method 9").check()
    assert page.get_by_role("checkbox", name="method 9").evaluate(
        "(box) => box === document.activeElement"
    )
    page.get_by_role("checkbox", name="method 0").uncheck()
    wait(page)
    wait_for_address(page, "lines=1,4,5,6,7,8,9,10")
    for name in ("ious", "sizes", "instances"):
        assert [trace["customdata"][0] for trace in traces(page, name)] == [1, 4, 5, 6, 7, 8, 9, 10]
    page.get_by_role("button", name="Usual lines").click()
    wait(page)
    assert [trace["customdata"][0] for trace in traces(page, "ious")] == USUAL


def test_curves_over_thresholds_and_ious(charts):
    page = charts()
    *curves, own, best, selected = traces(page, "thresholds")
    assert [curve["customdata"][0] for curve in curves] == [0, 1, 2]
    assert curves[0]["x"] == [0, 0.25, 0.5, 1]
    assert curves[0]["y"] == [50, 75, 62.5, 0]
    assert (own["x"][0], own["y"][0], own["marker"]["symbol"]) == (0.15, 75, "x")
    assert (best["x"][0], best["y"][0]) == (0.25, 75)
    assert (selected["x"][0], selected["y"][0]) == (0.5, 62.5)
    expected = ["method 0", "0.25", "75.00", "0.5", "62.50", "0.15", "75.00"]
    assert table(page, "thresholds")[1] == expected
    assert traces(page, "ious")[0]["y"] == [100, 50, 0]


def test_few_points_have_axes_that_can_be_read(tmp_path, opened):
    """Two lines that hardly differ, at the same cost: a tiny difference must not look large."""
    lines = [line(name, numbers(error)) for name, error in (("a", 0.2), ("b", 0.2005))]
    overview = overview_of(lines, NUMBERS)
    page = opened(write_page(tmp_path / "page.html", overview).as_uri() + "#view=charts")
    wait(page)
    layout = page.locator("[data-chart=cost] .chart-plot").evaluate(
        "(plot) => ({ x: plot.layout.xaxis, y: plot.layout.yaxis })"
    )
    assert len(layout["x"]["tickvals"]) >= 3
    low, high = layout["y"]["range"]
    assert low < 20 < 20.05 < high and high - low >= 2


def test_bins_stand_in_their_order(charts):
    page = charts()
    assert table(page, "sizes")[0] == ["method", "0-0.01 (n=4)", "0.01-0.04 (n=4)"]
    assert table(page, "instances")[1] == ["method 0", "25.0", "25.0", "25.0"]
    assert traces(page, "instances")[0]["y"] == [25, 25, 25]


def test_reasons_of_failures_add_up_and_lead_to_images(charts):
    page = charts()
    bars = traces(page, "failures")
    assert [bar["name"] for bar in bars] == ["hit", "multi_instance", "part", "too_large"]
    assert [bar["x"][0] for bar in bars] == [50, 10, 15, 25]
    page.locator("[data-chart=failures] select").select_option("top1")
    wait_for_address(page, "judge=top1")
    wait(page)
    bars = traces(page, "failures")
    assert [bar["name"] for bar in bars] == ["hit", "wrong_class", "too_large"]
    line, outcome = bars[1]["customdata"][0]
    assert OUTCOMES[outcome] == "wrong_class"
    rows = table(page, "failures")
    assert rows[1][2] == "50.0% (20)"
    page.locator('[data-chart="failures"] .chart-table button').nth(1).click()
    wait_for_address(page, "view=images", "judge=top1", "outcome=wrong_class")
    wait_for_address(page, f"line={line}")


def test_a_click_on_a_bar_leads_to_its_images(charts):
    page = charts(LEFT_FILTERS)
    page.evaluate("""() => {
        const plot = document.querySelector("[data-chart=failures] .chart-plot");
        plot.emit("plotly_click", {points: [{customdata: plot.data[1].customdata[2]}]});
    }""")
    wait_for_address(page, "view=images", "outcome=multi_instance", "flag=counted", without=OTHERS)


# Filters that were set before, and the names of those that no link from a chart may keep.
LEFT_FILTERS = "size=0.01-0.04&text=cat&a=2&b=3&outcome=part&class=n00000009&flag=wrong"
OTHERS = ["size", "text", "a", "b", "class"]


@pytest.mark.parametrize("name", ["intervals", "cost"])
def test_the_tables_of_numbers_lead_to_the_images_of_a_line(charts, name):
    page = charts(LEFT_FILTERS)
    assert ["method 3", "squeezenet", "87.50"] in [row[:3] for row in table(page, name)]
    page.locator(f'[data-chart="{name}"] .chart-table button', has_text="method 3").click()
    wait_for_address(page, "view=images", "line=3", without=[*OTHERS, "outcome", "flag"])


def test_agreement_is_of_images_that_either_hits(charts):
    page = charts(f"lines=0,3,5&judge=top1&{LEFT_FILTERS}")
    (heat,) = traces(page, "agreement")
    order = [5, 0, 3]  # the best first
    assert [cell[0] for cell in (row[0] for row in heat["customdata"])] == order
    # only_a is the number of the first line of a pair, and only_b is 4.
    expected = {(0, 3): 12 / 16, (0, 5): 12 / 16, (3, 5): 12 / 19}
    for i, a in enumerate(order):
        for j, b in enumerate(order):
            share = heat["z"][i][j]
            assert (
                share is None if a == b else share == pytest.approx(expected[min(a, b), max(a, b)])
            )
    rows = table(page, "agreement")
    assert rows[3] == ["method 0", "method 3", "12", "0", "4", "24", "75.0"]
    assert rows[2] == ["method 5", "method 3", "12", "4", "3", "21", "63.2"]
    page.evaluate("""() => {
        const plot = document.querySelector("[data-chart=agreement] .chart-plot");
        plot.emit("plotly_click", {points: [{customdata: plot.data[0].customdata[0][2]}]});
    }""")
    others = ["size", "text", "class", "outcome", "judge"]
    wait_for_address(page, "view=images", "a=5", "b=3", "flag=counted", without=others)


def test_classes_are_found_and_lead_to_their_images(charts):
    page = charts(f"line=1&judge=top1&{LEFT_FILTERS}")
    worst, best = page.locator(".class-columns section").all()
    assert worst.locator("li").count() == best.locator("li").count() == 20
    assert worst.locator(".class-words").first.inner_text() == HOSTILE
    assert worst.locator(".class-words").nth(1).inner_text() == "Class 999"
    assert best.locator(".class-words").first.inner_text() == "Class 1"
    page.get_by_label("Search classes").fill("class 12")
    found = page.locator(".class-columns li")
    assert found.count() == 11  # 12 and 120 to 129
    assert page.locator(".class-columns h4").inner_text() == "11 classes found"
    wait_for_address(page, "find=class+12")
    found.last.locator("button").click()
    others = ["size", "text", "a", "b", "outcome", "judge"]
    where = ("view=images", "line=1", "class=n00000012", "flag=counted")
    wait_for_address(page, *where, without=others)


def test_the_address_keeps_the_choices_of_single_charts(charts):
    page = charts("line=1&cost=forward&judge=top1&find=class+99")
    assert page.locator("[data-chart=cost] select").input_value() == "forward"
    assert page.locator("[data-chart=failures] select").input_value() == "top1"
    assert page.get_by_label("Search classes").input_value() == "class 99"
    assert page.locator(".class-columns h4").inner_text() == "11 classes found"


def test_classes_by_top1_lead_to_the_outcomes_of_top1(tmp_path, opened):
    lines = [line("one", {"top1_loc_error": value(0.5)})]
    charts = {"by_class": [a_bin(0, "n00000001", 0.5, words="Class 1")]}
    overview = overview_of(lines, [number_info("top1_loc_error")], charts=charts)
    page = opened(write_page(tmp_path / "page.html", overview).as_uri() + "#view=charts")
    wait(page)
    page.locator(".class-columns li button").first.click()
    wait_for_address(page, "judge=top1", "class=n00000001", "flag=counted")


def test_notes_hold_for_all_runs(tmp_path, opened):
    runs = [
        a_run("first", kind="box_sweep", least_iou=0.5),
        a_run("second", least_iou=0.3),
    ]
    models = [{"run": run, "name": "-", "n_classes": None} for run in (0, 1)]
    lines = [line("a", numbers(0.5), run=run, model=run) for run in (0, 1)]
    charts = {
        "thresholds": [{**CURVE, "line": 0}, {**CURVE, "line": 1, "of": "30 images"}],
        "ious": [{"line": i, "ious": [0.0, 1.0], "shares": [1.0, 0.0]} for i in (0, 1)],
        "by_size": [a_bin(i, "0-0.01", 0.5, n_images=4 + i) for i in (0, 1)],
    }
    overview = overview_of(lines, NUMBERS, runs=runs, models=models, charts=charts)
    address = write_page(tmp_path / "page.html", overview).as_uri()
    page = opened(f"{address}#view=charts&lines=0,1")
    wait(page)
    note = page.locator("[data-chart=thresholds] .chart-note").inner_text()
    assert note.startswith("Of 40 images (first), 30 images (second). ✚")
    # Only the run under one threshold has a threshold of its own.
    (own,) = [t for t in traces(page, "thresholds") if t["name"] == "threshold of the run"]
    assert own["x"] == [0.15]
    assert "✕" in note
    note = page.locator("[data-chart=ious] .chart-note").inner_text()
    assert note == "Dotted: the IoU of a hit, 0.5 (first), 0.3 (second)."
    assert table(page, "sizes")[0] == ["method", "0-0.01 (n=4–5)"]
    page = opened(f"{address}#view=charts")
    wait(page)
    assert "methods and baselines of first that" in page.locator(".chart-about").inner_text()
    assert "✕" not in page.locator("[data-chart=thresholds] .chart-note").inner_text()


def test_a_chart_of_few_lines_leaves_no_gap(tmp_path, opened):
    overview = overview_of([line("only", numbers(0.5))], NUMBERS)
    page = opened(write_page(tmp_path / "page.html", overview).as_uri() + "#view=charts")
    wait(page)
    heights = page.evaluate(
        """() => [...document.querySelectorAll(".chart-plot")]
            .filter((plot) => plot.clientHeight)
            .map((plot) => [plot.clientHeight, plot.layout.height])"""
    )
    assert len(heights) == 2
    for shown, drawn in heights:
        assert shown == drawn


def test_names_are_text(charts):
    page = charts("lines=0,12")
    assert page.locator(".charts img").count() == 0
    labels = page.locator('[data-chart="intervals"] .ytick text').all_text_contents()
    assert any(label.startswith("<img src=x onerror=") for label in labels)
    assert any(HOSTILE in title for title in legend(page, "ious"))
    plot = page.locator('[data-chart="ious"] .chart-plot')
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    for share in (0.3, 0.5, 0.7):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.5 * box["height"])
    assert page.evaluate("window.ran") is None


def test_a_chart_without_data_says_so(tmp_path, opened):
    page = opened(
        write_page(tmp_path / "page.html", overview_of(LINES[:2], NUMBERS)).as_uri()
        + "#view=charts"
    )
    wait(page)
    sentences = page.locator(".chart-empty:visible").all_inner_texts()
    assert any("The runs keep no maps of these lines" in text for text in sentences)
    assert len(sentences) == 7


def test_colors_follow_the_theme(page_file, opened):
    page = opened(f"{page_file.as_uri()}#view=charts", color_scheme="light")
    wait(page)
    light = traces(page, "ious")[0]["line"]["color"]

    def wait_for(color):
        page.wait_for_function(
            """([color, light]) => (color === "light") === (light ===
                document.querySelector("[data-chart=ious] .chart-plot").data[0].line.color)""",
            arg=[color, light],
        )

    page.emulate_media(color_scheme="dark")
    wait_for("dark")
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    wait_for("light")


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_the_charts_are_accessible(page_file, opened, width, scheme):
    view = {"width": width, "height": 844}
    page = opened(f"{page_file.as_uri()}#view=charts", viewport=view, color_scheme=scheme)
    wait(page)
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
