# ruff: noqa: INP001 - a program of its own, no package
"""Take the pictures of the lab's Slack anew: `.venv/bin/python docs/screenshots.py`. Needs Chromium."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

IMAGES = Path(__file__).parent / "images"
PASSGATE = Path(sys.executable).with_name("passgate")
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SIZE: ViewportSize = {"width": 1360, "height": 1010}
REQUEST = (
    *("request", "usb-attach", "--vm", "win-01", "--device", "18a5:0302", "--vmotion"),
    *("--reason", "The nightly backup of win-01 goes to this stick", "--ticket", "CHG0031337"),
)


def main() -> None:
    """Ask for a change, be Bob in the browser, approve it there, and take a picture before and after."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PASSGATE_HOME"] = f"{folder}/home"
        try:
            for words in (("lab", "start"), ("up",), ("token", "issue", "alice", "--save"), REQUEST):
                passgate(*words)
            address = Path(folder, "home/lab/slack.url").read_text(encoding="utf-8").strip().removesuffix("api/")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                take(browser.new_page(viewport=SIZE), f"{address}?as=U0BOB")
                browser.close()
        finally:
            passgate("down")
            passgate("lab", "stop")


def take(page: Page, address: str) -> None:
    """Take the channel with its buttons, click Approve, and take it with the whole thread."""
    page.goto(address)
    page.get_by_role("button", name="Approve").wait_for()
    page.screenshot(path=IMAGES / "slack-waiting.png")
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Approve").click()
    page.locator("button.replies").click()
    page.get_by_text("The evidence is written").wait_for(timeout=60_000)
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)  # both panes scroll to their ends
    page.screenshot(path=IMAGES / "slack-channel.png")


def passgate(*words: str) -> None:
    """Run a command, and stop here when it fails."""
    subprocess.run([PASSGATE, *words], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
