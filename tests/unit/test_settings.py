"""The settings: documented one by one."""

from dataclasses import fields
from pathlib import Path

from moneta.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_every_setting_has_its_heading():
    headings = {line.removeprefix("## ") for line in PAGE.read_text().splitlines() if line.startswith("## ")}
    assert headings == {field.name for field in fields(Settings)}
