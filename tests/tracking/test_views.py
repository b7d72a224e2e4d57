"""Saved views of the runs explorer: what is kept, whose it is, and where the page begins."""

from __future__ import annotations

from typing import Any

import pytest

from headway.errors import BadInput
from headway.tracking.show import views
from tests.world import World, world


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("", ""),
        ("?sort=metrics.auc+DESC&filter=fox", "filter=fox&sort=metrics.auc+DESC"),
        ("after=x&view=3&nonsense=1&csrf=s", ""),
        ("deleted=false&children=true", "children=true"),
        ("column=params.b&column=params.a", "column=params.b&column=params.a"),
        ("width=params.%60a+b%60%3A140", "width=params.%60a+b%60%3A140"),
        ("mean=true&panel=lines&filter=metrics.a+%3E+1&chart=loss", "filter=metrics.a+%3E+1&chart=loss&panel=lines&mean=true"),
    ],
)  # fmt: skip
def test_a_state_is_kept_in_one_order_and_nothing_else(query: str, kept: str) -> None:
    assert views.clean(query) == kept
    assert views.clean(kept) == kept


@pytest.mark.parametrize("name", ["", "   ", "\n", "x" * 81])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(BadInput):
        views.clean_name(name)
    assert views.clean_name(" best \n of\tMarch ") == "best of March"


def test_a_state_that_is_too_long() -> None:
    with pytest.raises(BadInput, match="too long"):
        views.clean("filter=" + "x" * 9000)


@pytest.fixture
def site(tmp_path: Any) -> Any:
    with world(tmp_path) as w:
        ada, vera = w.user("ada"), w.user("vera")
        w.project("Churn", ada, viewer="vera")
        w.project("Other", ada)
        yield w, w.client(ada), w.client(vera), w.client(w.user("eve"))


def test_views_are_ones_own_or_shared(site: tuple[World, Any, Any, Any]) -> None:
    _, ada, vera, eve = site
    url = "/api/v1/projects/churn/runs/views"
    mine = ada.post(url, json={"name": "best", "query": "sort=metrics.auc+DESC"}).json()
    shared = ada.post(url, json={"name": "best", "query": "filter=fox", "shared": True}).json()
    assert [one["name"] for one in shared["views"]] == ["best", "best"]  # her own, and the project's
    assert [one["id"] for one in vera.get(url).json()["views"]] == [shared["id"]]
    assert eve.get(url).status_code == 404
    assert ada.post(url, json={"name": "best", "query": ""}).status_code == 409
    assert vera.post(url, json={"name": "hers", "query": ""}).status_code == 201
    assert vera.post(url, json={"name": "all's", "query": "", "shared": True}).status_code == 403
    # a shared one is the editors' to change, somebody's own is nobody else's to see
    assert vera.patch(f"{url}/{shared['id']}", json={"name": "x"}).status_code == 403
    assert vera.delete(f"{url}/{mine['id']}").status_code == 404
    assert ada.patch(f"{url.replace('churn', 'other')}/{mine['id']}", json={"name": "x"}).status_code == 404
    assert (
        ada.patch(f"{url}/{mine['id']}", json={"query": "filter=a&after=b"}).json()["views"][0]["query"] == "filter=a"
    )
    assert ada.patch(f"{url}/{mine['id']}", json={"shared": True}).status_code == 409  # the project has a `best`
    assert ada.delete(f"{url}/{mine['id']}").json()["views"][0]["id"] == shared["id"]


def test_the_page_begins_with_the_default(site: tuple[World, Any, Any, Any]) -> None:
    _, ada, vera, _ = site
    url = "/api/v1/projects/churn/runs/views"
    assert ada.get("/p/churn/runs").status_code == 200
    ours = ada.post(url, json={"name": "ours", "query": "filter=fox", "shared": True, "default": True}).json()["id"]
    for client in (ada, vera):
        assert client.get("/p/churn/runs").headers["location"] == f"/p/churn/runs?view={ours}&filter=fox"
    mine = ada.post(url, json={"name": "mine", "query": "group=params.a", "default": True}).json()["id"]
    assert ada.get("/p/churn/runs").headers["location"] == f"/p/churn/runs?view={mine}&group=params.a"
    assert f"view={ours}" in vera.get("/p/churn/runs").headers["location"]
    assert ada.get("/p/churn/runs?view=none").status_code == 200
    other = ada.post(url, json={"name": "other", "query": "", "default": True}).json()
    assert [one["name"] for one in other["views"] if one["default"] and not one["shared"]] == ["other"]
    assert ada.get("/p/churn/runs").headers["location"] == f"/p/churn/runs?view={other['id']}&"
    ada.patch(f"{url}/{other['id']}", json={"default": False})
    assert f"view={ours}" in ada.get("/p/churn/runs").headers["location"]
