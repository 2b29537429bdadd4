"""Charts of the page: the numbers of made-up lines, and what a browser has drawn."""

from page_overviews import number_info, value

NUMBERS = [number_info("gt_known_loc_error"), number_info("score", better="higher", percent=False)]


def numbers(error, score=2.0):
    return {
        "gt_known_loc_error": value(error, error - 0.125, error + 0.0625),
        "score": value(score),
    }


def cost(forward, backward, seconds):
    return {"forward": forward, "backward": backward, "head": 0, "seconds": seconds}


# A curve over thresholds of the first line.
CURVE = {
    "line": 0,
    "number": "max_box_acc",
    "title": "MaxBoxAcc",
    "thresholds": [0.0, 0.25, 0.5, 1.0],
    "shares": [0.5, 0.75, 0.625, 0.0],
    "best": 0.25,
    "selected": 0.5,
    "of": "40 images",
}


def wait(page):
    page.locator('.charts[data-drawn="all"]').wait_for()


def traces(page, name):
    """The traces of a chart, as plotly holds them."""
    return page.evaluate(
        "(name) => JSON.parse(JSON.stringify("
        "document.querySelector(`[data-chart=${name}] .chart-plot`).data))",
        name,
    )


def table(page, name):
    card = page.locator(f'[data-chart="{name}"]')
    card.locator("details").evaluate("(details) => { details.open = true; }")
    card.locator(".chart-table tr").first.wait_for()
    return card.locator(".chart-table tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )


def legend(page, name):
    return page.locator(f'[data-chart="{name}"] .chart-legend li').all_inner_texts()
