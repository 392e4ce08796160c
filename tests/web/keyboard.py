"""A page by the keyboard alone, as somebody without a mouse goes through it."""

from playwright.sync_api import Page


def tab_to(page: Page, selector: str, most: int = 80) -> None:
    """With the Tab key alone, to the first element that fits; on the way each stop shows where it is."""
    for _ in range(most):
        page.keyboard.press("Tab")
        here = page.evaluate(
            """(wanted) => {
              const e = document.activeElement, s = getComputedStyle(e);
              const ring = s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2;
              // This link is there only while it has the focus.
              return {fits: e.matches(wanted), ring: ring || e.matches(".utrecht-skip-link")};
            }""",
            selector,
        )
        assert here["ring"], page.evaluate("document.activeElement.outerHTML.slice(0, 80)")
        if here["fits"]:
            return
    raise AssertionError(f"no way to {selector} with the keyboard")
