"""Home's pages; the settings are in `settings_pages`."""

from __future__ import annotations

from fastapi import APIRouter

from headway.home import settings_pages

router = APIRouter(include_in_schema=False)
router.include_router(settings_pages.router)
