"""The rail: what is shown, to whom, and which entry is the one we are in."""

from __future__ import annotations

from headway.web.nav import NavItem, links

ITEMS = [
    NavItem("Runs", "activity", "runs", 20),
    NavItem("Overview", "house", "", 0),
    NavItem("People", "users", "people", 70, verb="own"),
    NavItem("Admin", "server", "/admin", 90, verb="own"),
]


def test_in_a_project() -> None:
    shown = links(ITEMS, slug="churn", current="/p/churn/runs/abc", allowed=lambda verb: True)
    assert [(link.label, link.url) for link in shown] == [
        ("Overview", "/p/churn"),
        ("Runs", "/p/churn/runs"),
        ("People", "/p/churn/people"),
        ("Admin", "/admin"),
    ]
    assert [link.label for link in shown if link.active] == ["Runs"]


def test_outside_of_projects_only_global_entries_are_left() -> None:
    shown = links(ITEMS, slug=None, current="/", allowed=lambda verb: True)
    assert [link.label for link in shown] == ["Admin"]
    assert not any(link.active for link in shown)


def test_what_the_reader_may_not_do_is_not_shown() -> None:
    shown = links(ITEMS, slug="churn", current="/p/churn", allowed=lambda verb: verb == "view")
    assert [link.label for link in shown] == ["Overview", "Runs"]
    assert shown[0].active


def test_a_longer_name_is_not_inside_a_shorter_one() -> None:
    shown = links(ITEMS, slug="churn", current="/p/churn/runs-of-old", allowed=lambda verb: True)
    assert not any(link.active for link in shown)


def test_a_page_elsewhere_can_be_inside_an_entry() -> None:
    items = [NavItem("Overview", "house", "", 0), NavItem("Runs", "activity", "runs", 20, also=("compare", "new-run"))]
    for path in ("/p/churn/compare", "/p/churn/new-run", "/p/churn/runs/1"):
        shown = links(items, slug="churn", current=path, allowed=lambda verb: True)
        assert [link.label for link in shown if link.active] == ["Runs"], path
