"""The kit in a real browser: keyboard, contrast, names, and nothing from outside."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

PAGES = ["/", "/p/churn/runs", "/p/churn/run", "/bare", "/error"]

CHECKS = (Path(__file__).parent / "gallery" / "checks.js").read_text()


def wrong(page: Page, check: str) -> object:
    return page.evaluate(f"{CHECKS}.{check}()")


@pytest.mark.parametrize("path", PAGES)
def test_nothing_comes_from_outside_and_everything_has_a_name(browser: Browser, gallery: str, path: str) -> None:
    context = browser.new_context(base_url=gallery)
    page = context.new_page()
    hosts: set[str] = set()
    problems: list[str] = []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if "Content Security" in message.text else None)
    page.goto(path, wait_until="load")
    for chart in page.locator("[data-chart]").all():
        expect(chart.locator("canvas")).to_be_attached()
    assert {host for host in hosts if host} == {urlsplit(gallery).netloc}
    assert problems == []
    assert wrong(page, "nameless") == []
    assert wrong(page, "doubled") == []
    assert wrong(page, "broken") == []
    assert page.locator("h1").count() == 1
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_of_the_tokens(browser: Browser, gallery: str, scheme: str) -> None:
    context = browser.new_context(base_url=gallery, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/bare")
    assert wrong(page, "faint") == []
    context.close()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_page_scrolls_sideways(tab: Page, path: str, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 780})
    tab.goto(path) if path != "/error" else tab.goto("/")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_focus_is_visible_on_every_stop(tab: Page) -> None:
    tab.goto("/")
    seen = 0
    for _ in range(60):
        tab.keyboard.press("Tab")
        found = tab.evaluate("""() => { const e = document.activeElement, s = getComputedStyle(e);
            return [e.outerHTML.slice(0, 120), e === document.body, s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0
              || s.boxShadow !== "none"]; }""")
        if found[1]:
            break
        assert found[2], found[0]
        seen += 1
    assert seen > 30


def test_skip_link_leads_to_the_content(tab: Page) -> None:
    tab.goto("/")
    tab.keyboard.press("Tab")
    expect(tab.locator(".skip")).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.locator("main")).to_be_focused()


def test_the_palette_by_keyboard(tab: Page) -> None:
    tab.goto("/")
    tab.keyboard.press("Control+k")
    expect(tab.locator("#palette")).to_be_visible()
    expect(tab.locator("#palette input")).to_be_focused()
    tab.keyboard.type("churn")
    options = tab.locator("#palette [role=option]")
    expect(options).to_have_count(2)
    expect(options.nth(0)).to_have_attribute("aria-selected", "true")
    tab.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    tab.keyboard.press("ArrowDown")
    expect(options.nth(0)).to_have_attribute("aria-selected", "true")
    tab.keyboard.press("Escape")
    expect(tab.locator("#palette")).to_be_hidden()
    tab.keyboard.press("Control+k")
    tab.keyboard.type("zzzz")
    expect(tab.locator("#palette .nothing")).to_be_visible()
    tab.locator("#palette input").fill("schedu")
    expect(options).to_have_count(1)
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/p/churn/schedules")


def test_the_keys_are_shown(tab: Page) -> None:
    tab.goto("/p/churn/runs")
    tab.keyboard.press("?")
    expect(tab.get_by_role("dialog", name="Keys")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("dialog", name="Keys")).to_have_count(0)
    tab.locator("input[type=search]").first.press("?")
    expect(tab.get_by_role("dialog", name="Keys")).to_have_count(0)


def test_the_project_switcher_asks_for_projects_only(tab: Page) -> None:
    tab.goto("/")
    tab.locator(".switcher").click()
    expect(tab.locator("#palette [role=option]")).to_have_text(["Fraud"])


def test_a_table_by_keyboard(tab: Page) -> None:
    tab.goto("/p/churn/runs")
    rows = tab.locator("#runs tbody tr")
    tab.keyboard.press("j")
    expect(rows.nth(0)).to_be_focused()
    tab.keyboard.press("j")
    tab.keyboard.press("ArrowDown")
    expect(rows.nth(2)).to_be_focused()
    tab.keyboard.press("k")
    tab.keyboard.press("x")
    expect(rows.nth(1).locator("input")).to_be_checked()
    compare = tab.locator(".table-tools a")
    expect(compare).to_contain_text("Pick another")
    tab.keyboard.press("j")
    tab.keyboard.press(" ")
    expect(compare).to_have_text("Compare 2")
    assert compare.get_attribute("href") == f"/p/churn/compare?runs={1:032x},{2:032x}"
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/p/churn/run")


def test_columns_are_chosen_and_remembered(tab: Page) -> None:
    tab.goto("/p/churn/runs")
    head = tab.locator("#runs th", has_text="accuracy")
    expect(head).to_be_visible()
    tab.locator(".table-tools summary").click()
    tab.locator(".table-tools label", has_text="accuracy").click()
    expect(head).to_be_hidden()
    tab.reload()
    expect(head).to_be_hidden()
    tab.locator(".table-tools summary").click()
    expect(tab.locator(".table-tools label", has_text="Name")).to_have_count(0)
    tab.locator(".table-tools label", has_text="accuracy").click()
    expect(head).to_be_visible()


def test_sorting_keeps_what_is_missing_last(tab: Page) -> None:
    tab.goto("/p/churn/runs")
    button = tab.locator("#runs th button", has_text="accuracy")
    cells = tab.locator("#runs tbody tr td:nth-child(4)")

    def values() -> list[float | None]:
        return [None if text == "–" else float(text) for text in cells.all_inner_texts()]

    for turn in ("descending", "ascending"):
        button.click()
        expect(tab.locator("#runs th[aria-sort]")).to_have_attribute("aria-sort", turn)
        found = values()
        present = [value for value in found if value is not None]
        assert found[len(present) :] == [None] * (len(found) - len(present))
        assert present == sorted(present, reverse=turn == "descending")
        assert len(present) < len(found)


def test_csv_has_exact_values_and_no_formulas(tab: Page) -> None:
    tab.goto("/p/churn/runs")
    tab.evaluate("document.querySelector('#runs tbody a').textContent = '=cmd(1)'")
    with tab.expect_download() as download:
        tab.locator('[aria-label="Save as CSV"]').click()
    lines = download.value.path().read_text().splitlines()
    assert lines[0] == "Name,State,accuracy,loss,lr,n_estimators,Took,By,Started"
    assert lines[1].startswith("'=cmd(1),running,0.")
    assert len(lines[1].split(",")[2]) > 10, "the exact value, not the one that is shown"
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", lines[1])


def test_a_question_is_asked_before_deleting(tab: Page) -> None:
    tab.goto("/")
    tab.locator("form[data-confirm] button").first.click()
    dialog = tab.locator("#confirm")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("Its runs stay.")
    tab.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert "is live" not in tab.locator(".toasts").inner_text()
    tab.locator("form[data-confirm] button").first.click()
    dialog.locator("[data-yes]").click()
    expect(tab.locator(".toast")).to_have_text("Run 14 is live as endpoint churn.")


def test_a_part_that_renews_itself_leaves_alone_what_one_is_at(tab: Page) -> None:
    tab.goto("/part")
    drawn = tab.locator("#drawn")
    tab.get_by_text("As JSON").click()
    tab.get_by_text("As JSON").focus()
    expect(drawn).not_to_have_text(drawn.inner_text())  # drawn anew: what was unfolded and has the focus does so still
    expect(tab.locator("#part details")).to_have_attribute("open", "")
    expect(tab.get_by_text("As JSON")).to_be_focused()
    tab.get_by_role("button", name="Cancel").click()
    expect(tab.locator("#confirm")).to_be_visible()
    before = drawn.inner_text()
    for _ in range(3):
        with tab.expect_response("**/part"):
            pass
    assert drawn.inner_text() == before  # a form that is asked about is still there when the answer is yes
    tab.locator("#confirm [data-yes]").click()
    expect(tab.locator(".toast")).to_have_text("Run 14 is live as endpoint churn.")


def test_enter_opens_what_was_typed_however_late_the_answer(tab: Page) -> None:
    tab.goto("/")
    tab.keyboard.press("Control+k")
    expect(tab.locator("#palette [role=option]").first).to_be_visible()
    tab.keyboard.type("schedu")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/p/churn/schedules")


def test_the_theme_is_switched_and_kept(browser: Browser, gallery: str) -> None:
    context = browser.new_context(base_url=gallery, color_scheme="light")
    page = context.new_page()
    page.goto("/")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.locator("[data-theme-switch]").click()
    assert page.evaluate(ground) != light
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.locator("[data-theme-switch]").click()
    assert page.evaluate(ground) == light
    context.close()


def test_the_rail_opens_on_a_phone(tab: Page) -> None:
    tab.set_viewport_size({"width": 360, "height": 740})
    tab.goto("/")
    expect(tab.locator(".rail")).to_be_hidden()
    tab.locator("[data-rail]").click()
    expect(tab.locator(".rail-project")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(tab.locator(".rail")).to_be_hidden()
    expect(tab.locator("[data-rail]")).to_be_focused()


def test_a_terminal_shows_what_a_terminal_would(tab: Page) -> None:
    tab.goto("/p/churn/run")
    pre = tab.locator(".terminal pre")
    expect(tab.locator(".terminal-state")).to_have_text("ended")
    expect(pre).to_contain_text("done in 1.2 s")
    text = pre.inner_text()
    assert "Epoch 1/3" in text
    assert "fitting 100%|██████████|" in text
    assert "10%" not in text
    assert "\x1b" not in text
    expect(pre.locator(".ansi-32")).to_have_text("done")


SCREENS = [
    (["a\nb"], "a\nb"),
    (["12345\rab"], "ab345"),
    (["12345\r\x1b[Kab"], "ab"),
    (["ab\b\bX"], "Xb"),
    (["one\ntwo\x1b[1A\rONE"], "ONE\ntwo"),
    (["\x1b[3", "1mred\x1b[0m"], "red"),
    (["\x1b]0;title\x07text"], "text"),
    (["\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\"], "link"),
    (["a\tb"], "a       b"),
    (["😀\rab"], "ab"),
    (["\x1b[38;5;196mx\x1b[48;2;1;2;3my"], "xy"),
    (["bell\x07"], "bell"),
    (["\r 10%\r 20%\r100%\n"], "100%"),
    (["<script>alert(1)</script>"], "<script>alert(1)</script>"),
    (["x\x1b[999999999B"], None),
]


def test_the_screen_of_a_terminal(tab: Page) -> None:
    tab.goto("/p/churn/run")
    run = """async ([address, cases]) => { const { Screen } = await import(address);
      return cases.map((pieces) => { const s = new Screen(); pieces.forEach((p) => s.write(p)); return s.text(); }); }"""
    address = tab.evaluate("document.querySelector('script[type=module]').src.replace('app.js', 'screen.js')")
    found = tab.evaluate(run, [address, [pieces for pieces, _ in SCREENS]])
    for (pieces, wanted), got in zip(SCREENS, found, strict=True):
        if wanted is not None:
            assert got == wanted, pieces


def test_a_very_long_output_keeps_its_end(tab: Page) -> None:
    tab.goto("/p/churn/run")
    address = tab.evaluate("document.querySelector('script[type=module]').src.replace('app.js', 'screen.js')")
    lines = tab.evaluate("""async (address) => { const { Screen } = await import(address);
      const s = new Screen();
      for (let i = 0; i < 30000; i++) s.write(`line ${i}\\n`);
      return [s.lines.length, s.dropped, s.runs(29999)[0][0]]; }""", address)  # fmt: skip
    assert lines == [20000, 10001, "line 29999"]


def test_ranges_on_axes_keep_the_rows_that_pass(tab: Page) -> None:
    tab.goto("/p/churn/runs")
    rows = tab.locator("#runs tbody tr:visible")
    expect(rows).to_have_count(20)
    grip = tab.locator(".parallel-grip").last
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    assert box is not None
    x = box["x"] + box["width"] / 2
    tab.mouse.move(x, box["y"] + 1)
    tab.mouse.down()
    tab.mouse.move(x, box["y"] + box["height"] * 0.45, steps=3)
    tab.mouse.up()
    best = [float(text) for text in tab.locator("#runs tbody tr:visible td:nth-child(4)").all_inner_texts()]
    assert 0 < len(best) < 18
    hidden = [
        float(text) for text in tab.locator("#runs tbody tr[hidden] td:nth-child(4)").all_text_contents() if text != "–"
    ]
    assert min(best) > max(hidden)
    expect(tab.locator(".parallel-line:not(.out)")).to_have_count(len(best))
    tab.mouse.click(x, box["y"] + box["height"] * 0.7)
    expect(rows).to_have_count(20)


def test_copying_a_snippet_in_the_chosen_language(browser: Browser, gallery: str) -> None:
    context = browser.new_context(base_url=gallery, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto("/")
    snippet = page.locator("[data-snippet]").first
    snippet.get_by_role("tab", name="curl").focus()
    page.keyboard.press("ArrowRight")
    expect(snippet.get_by_role("tab", name="Python")).to_be_focused()
    snippet.get_by_role("tab", name="Python").click()
    snippet.locator('[role="tabpanel"]:not([hidden]) [data-copy-code]').click()
    expect(snippet.locator(".done")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith(
        'import headway\n\nmodel = headway.model("churn@champion")'
    )
    page.reload()
    expect(page.locator("[data-snippet]").first.get_by_role("tab", name="Python")).to_have_attribute(
        "aria-selected", "true"
    )
    context.close()


def test_the_words_for_times_are_the_servers_words(tab: Page) -> None:
    from headway.web.show import ago

    tab.goto("/")
    now = 1_790_000_000_000
    cases = [
        now - shift * 1000
        for shift in (
            0,
            9,
            10,
            59,
            60,
            3599,
            3600,
            86399,
            86400,
            200_000,
            604_799,
            604_800,
            10_000_000,
            40_000_000,
            -7300,
            -40,
        )
    ]
    address = tab.evaluate("document.querySelector('script[type=module]').src.replace('app.js', 'when.js')")
    run = "async ([a, cases, now]) => { const { ago } = await import(a); return cases.map((ms) => ago(ms, now)); }"
    found = tab.evaluate(run, [address, cases, now])
    assert found == [ago(ms, now) for ms in cases]
