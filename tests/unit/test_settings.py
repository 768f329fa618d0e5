"""The settings: documented one by one, and the same on the other side of a process."""

import io
from dataclasses import fields
from pathlib import Path

from moneta.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_every_setting_has_its_heading():
    headings = {line.removeprefix("## ") for line in PAGE.read_text().splitlines() if line.startswith("## ")}
    assert headings == {field.name for field in fields(Settings)}


def test_settings_are_the_same_in_a_child_process():
    settings = Settings(data_dir=Path("hub"), tls_cert=Path("c.pem"), port=0)
    assert Settings.read(io.StringIO(settings.to_json() + "\n")) == settings


def test_settings_cut_short_are_none():
    assert Settings.read(io.StringIO("")) is None
