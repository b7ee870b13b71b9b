"""The site in a real browser."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.site.conftest import HOSTILE
from tests.site.made import store_board, store_run
from unibench.site.build import build

MOT = "clips/mot-synthetic-easy@unitrack+public"
KINDS = {
    "start": "index.html",
    "task": "tasks/mot-synthetic-easy@unitrack+public.html",
    "clip": f"{MOT}/crowd-1.html",
    "model": "models/hog.html",
    "methods": "methods/index.html",
    "family": "methods/mot.html",
}
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


def column(page, number, table="#scores"):
    cells = page.locator(f"{table} tbody tr:not([hidden]) > :nth-child({number})")
    return [text.split("\n")[0].strip() for text in cells.all_inner_texts()]


def pixels(page, side):
    """What a pane shows: (height, width, 3), 0 to 255."""
    with Image.open(io.BytesIO(page.locator("canvas").nth(side).screenshot())) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def drawn(page, side, source, frame):
    expect(page.locator("canvas").nth(side)).to_have_attribute("data-drawn", f"{source}:{frame}")


@pytest.mark.parametrize("path", KINDS.values(), ids=KINDS)
def test_every_page_opens_and_fits_a_phone(visit, site, path):
    page = visit(path, **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.locator("h1").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"
    for control in page.locator("button, select, input, canvas, img, .wide").all():
        named = "(one) => one.ariaLabel || one.alt || one.innerText || one.closest('label')?.innerText"
        assert control.evaluate(named), control.evaluate("(one) => one.outerHTML")


def test_marks_of_ties_scroll_with_their_table(visit):
    """Tests render too few clips for a tie, so a mark is put into the last cell, beyond the edge of the phone."""
    page = visit("index.html", **PHONE)
    mark = "(cell) => cell.insertAdjacentHTML('beforeend', '<span class=tie>=</span>')"
    page.locator("#scores tbody td:last-child").first.evaluate(mark)
    assert page.locator(".tie").first.evaluate("(one) => one.getBoundingClientRect().right") > 360
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_links_lead_to_pages(site):
    for path in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"#]+)', path.read_text(encoding="utf-8")):
            if not link.startswith(("https://", "data:")):
                assert (path.parent / link).is_file(), f"{path}: {link}"


def test_buttons_that_sort_say_the_words_of_their_column(visit):
    heads = visit("index.html").locator("#scores thead th[data-sort]").all()
    assert "Sort by ImageNet top-1" in [
        head.get_by_role("button").get_attribute("aria-label") for head in heads
    ]
    for head in heads:
        words = " ".join(head.inner_text().replace("\n", " ").split())
        assert head.get_by_role("button").get_attribute("aria-label") == f"Sort by {words}"


def test_rows_are_sorted_by_a_click(visit):
    page = visit("index.html")
    heads = page.locator("#scores thead th").all_inner_texts()
    (place,) = [number for number, head in enumerate(heads, start=1) if head.startswith("SOT")]
    head = page.locator("#scores thead th").nth(place - 1)
    head.get_by_role("button").click()
    found = column(page, place)
    numbers = [float(text) for text in found if text]
    assert len(numbers) == 3
    assert numbers == sorted(numbers, reverse=True)
    assert found == [*map("{:.2f}".format, numbers), *[""] * (len(found) - 3)], "blank rows come last"
    expect(head).to_have_attribute("aria-sort", "descending")
    head.get_by_role("button").press("Enter")
    assert column(page, place)[:3] == list(reversed(found[:3]))
    expect(head).to_have_attribute("aria-sort", "ascending")


def test_rows_and_columns_are_filtered(visit):
    page = visit("index.html")
    everything = column(page, 1)
    page.locator(".filters").get_by_label("Find").fill("LAB")
    assert column(page, 1) == ["lab-colour"]
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".filters output")).to_have_text(f"{len(everything)} of {len(everything)} rows")
    page.locator(".filters").get_by_label("Kind").select_option("joint")
    assert column(page, 1) == ["tdt-tiny joint"]
    page.locator(".filters").get_by_label("Kind").select_option("")
    page.locator(".filters").get_by_label("Layer").select_option("best")
    assert column(page, 2).count("best") == 1
    assert len(column(page, 2)) == 4
    page.locator(".filters").get_by_label("Layer").select_option("pooled")
    assert column(page, 1) == ["lab-colour"]
    page.locator(".filters").get_by_label("Layer").select_option("")
    page.locator(".filters").get_by_label("Supervision").select_option("untrained")
    assert set(column(page, 1)) == {"hog", "lab-colour"}
    page.locator(".filters").get_by_label("Task").select_option("VOS")
    shown = [text.split()[0] for text in page.locator("#scores thead th:visible").all_inner_texts()]
    assert shown == ["model", "layer", "ImageNet", "VOS"]
    page.locator(".filters").get_by_label("Task").select_option("MOT")
    page.locator(".filters").get_by_label("Protocol").select_option("bytetrack+public")
    assert page.locator("#scores thead th:visible").count() == 4


def test_the_slider_moves_both_panes(visit):
    page = visit(f"{MOT}/crowd-1.html")
    drawn(page, 0, "truth", 0)
    before = [pixels(page, side) for side in (0, 1)]
    page.get_by_label("Frame", exact=True).fill("3")
    drawn(page, 0, "truth", 3)
    drawn(page, 1, page.get_by_label("On the right", exact=True).input_value(), 3)
    page.wait_for_timeout(100)  # for the pictures of the frames
    assert all((pixels(page, side) != old).mean() > 0.05 for side, old in enumerate(before))
    assert page.url.endswith("frame=3")


def test_keys_move_and_play(visit):
    page = visit(f"{MOT}/crowd-1.html#right=hog-other&frame=1")
    drawn(page, 1, "hog-other", 1)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    drawn(page, 1, "hog-other", 3)
    page.keyboard.press("ArrowLeft")
    drawn(page, 0, "truth", 2)
    page.keyboard.press("End")
    drawn(page, 0, "truth", 4)
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.wait_for_function("document.getElementById('frame').value > 2")
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_two_models_stand_side_by_side_with_their_timelines(visit):
    page = visit(f"{MOT}/crowd-1.html#frame=3")
    page.get_by_label("On the left", exact=True).select_option("tdt-tiny-joint")
    drawn(page, 0, "tdt-tiny-joint", 3)
    expect(page.locator(".note").first).to_contain_text("becomes 10")
    assert page.locator("#timeline path.side0:not(.event)").count() == 1
    assert page.locator("#timeline path.side1:not(.event)").count() == 1
    assert page.locator("#timeline path.event.side0").count() > 0
    plain = pixels(page, 0)
    page.get_by_label("truth over predictions").check()
    assert (pixels(page, 0) != plain).any()
    page.get_by_role("button", name="Show lab-colour pooled on the left").click()
    drawn(page, 0, "lab-colour-pooled", 3)


@pytest.mark.parametrize("task", ["sot", "vos", "pose"])
def test_boxes_masks_and_joints_are_drawn(visit, task):
    name = {"sot": "object-1", "vos": "objects-1", "pose": "figure-1"}[task]
    page = visit(f"clips/{task}-synthetic-easy@unitrack/{name}.html#left=truth&right=truth&frame=4")
    drawn(page, 0, "truth", 4)
    red, green, blue = np.moveaxis(pixels(page, 0), -1, 0)
    orange = (red > 220) & (abs(green - 118) < 40) & (blue < 60)  # the first colour of an id
    assert orange.sum() > 50


def test_a_cell_of_the_heat_map_opens_its_clip_and_row(visit):
    page = visit("tasks/mot-synthetic-easy@unitrack+public.html")
    row = page.locator(".heat tbody tr", has_text="lab-colour")
    row.locator("td").first.click()
    page.wait_for_url("**/clips/**")
    expect(page.get_by_label("On the right", exact=True)).to_have_value("lab-colour-pooled")
    drawn(page, 1, "lab-colour-pooled", 0)


def test_worst_clips_come_first(visit):
    page = visit("tasks/mot-synthetic-easy@unitrack+public.html")
    rows = [row.locator("td").all_inner_texts() for row in page.locator(".heat tbody tr").all()]
    means = [sum(map(float, cells)) for cells in zip(*rows, strict=True)]
    assert means == sorted(means)
    assert len(means) == 2


def test_the_theme_follows_the_system_and_the_button(visit):
    ground = "getComputedStyle(document.body).backgroundColor"
    page = visit("index.html", color_scheme="dark")
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Switch to the light theme").click()
    light = page.evaluate(ground)
    assert (dark, light) == ("rgb(20, 23, 26)", "rgb(255, 255, 255)")
    page.reload()
    assert page.evaluate(ground) == light, "the choice is kept"
    assert visit("index.html", color_scheme="light").evaluate(ground) == light


def test_names_are_text_wherever_they_stand(visit, site):
    page = visit("index.html")
    row = page.locator("#scores tbody tr", has_text="alert(1)")
    assert row.locator("th a").inner_text() == HOSTILE
    row.locator("th a").click()
    assert page.locator("h1").inner_text() == HOSTILE
    clip = visit(f"{MOT}/crowd-2.html")
    option = f"{HOSTILE} / {HOSTILE}"
    clip.get_by_label("On the left", exact=True).select_option(label=option)
    expect(clip.locator("canvas").first).to_have_attribute("aria-label", f"{option}, frame 0")
    task = visit(KINDS["task"])
    assert HOSTILE in task.locator("#ranking").inner_text()
    for path in (path for path in site.rglob("*") if path.suffix in (".html", ".js")):
        assert "<script>alert" not in path.read_text(encoding="utf-8")


def test_the_radar_draws_the_models_that_are_chosen(visit):
    page = visit("index.html")
    drawing = page.locator("#radar svg")
    expect(drawing).to_have_attribute("aria-label", f"Ranks of hog, lab-colour, {HOSTILE}, tdt-tiny†")
    page.get_by_role("checkbox", name="lab-colour").uncheck()
    expect(drawing).to_have_attribute("aria-label", f"Ranks of hog, {HOSTILE}, tdt-tiny†")
    page.get_by_role("checkbox", name="hog").uncheck()
    page.get_by_role("checkbox", name="tdt-tiny").uncheck()
    assert drawing.locator("circle").count() == 1, "that model was run on one task alone"


def test_cost_stands_against_quality(visit, tmp_path):
    for model, shift in (
        ("random-vit-tiny", 1.0),
        ("random-resnet18", 6.0),
        ("resnet50-imagenet-v1", 3.0),
        ("hog", 0.0),
    ):
        store_run(tmp_path / "out", model, "sot/synthetic-easy", shift, frames=3)
    build(tmp_path / "out", tmp_path / "site", clips=0)
    page = visit("index.html", root=tmp_path / "site")
    drawing = page.locator("#pareto svg")
    expect(drawing).to_have_attribute("aria-label", "Parameters against SOT AUC (partial) ↑ of 3 models")
    names = [text for text in drawing.locator("text").all_text_contents() if "-" in text]
    assert names == ["random-vit-tiny", "resnet50-imagenet-v1", "random-resnet18"], (
        "best first; hog has no parameters"
    )
    assert drawing.locator("circle.ahead").count() == 1, "the smallest is the best"
    assert page.locator("#radar").count() == 0, "one axis makes no radar"


def test_a_page_prints_light_and_without_its_controls(visit):
    page = visit(KINDS["clip"], color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator(".controls").is_visible()
    assert page.locator("table").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_board_of_100_models_and_50_clips_opens_in_a_second(visit, tmp_path):
    """A second of the page's own thread, whatever else the machine does, and no layout for each of the columns."""
    out, folder = tmp_path / "out", tmp_path / "site"
    store_board(out, models=100, clips=50)
    build(out, folder)
    assert (folder / "index.html").stat().st_size < 1e6
    for path in ("index.html", "tasks/vos-synthetic-easy@unitrack.html"):
        page = visit("assets/icon.svg", root=folder)
        watch = page.context.new_cdp_session(page)
        watch.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(f"{folder.as_uri()}/{path}")
        assert page.locator("tbody").first.locator("tr").count() == 100
        found = {one["name"]: one["value"] for one in watch.send("Performance.getMetrics")["metrics"]}
        assert 0 < found["LayoutCount"] < 8
        assert 0 < found["TaskDuration"] < 1
