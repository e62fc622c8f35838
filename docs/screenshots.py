# ruff: noqa: INP001 - a program of its own, no package
"""Take the pictures of the lab's Slack anew: `.venv/bin/python docs/screenshots.py`. Needs Chromium."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from passgate.faces.cli.demo_stage import set_scene
from passgate.faces.cli.demo_stories import STORIES, Story

IMAGES = Path(__file__).parent / "images"
PASSGATE = Path(sys.executable).with_name("passgate")
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SIZE: ViewportSize = {"width": 1360, "height": 1010}


def main() -> None:
    """Begin each story of the demo, be the people who decide in the browser, and take pictures on the way."""
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with begun(STORIES["usb"]) as address:
            take_channel(browser.new_page(viewport=SIZE), f"{address}?as=U0BOB")
        with begun(STORIES["usb"]) as address:
            take_form(browser.new_page(viewport=SIZE), f"{address}?as=U0ALICE")
            take_home(browser.new_page(viewport=SIZE), f"{address}?as=U0BOB&home")
        with begun(STORIES["pci"]) as address:
            take_gate(browser, address)
        browser.close()


@contextmanager
def begun(story: Story) -> Iterator[str]:
    """Start a Passgate with its lab, ask for the story's first change, and lend the address of its Slack."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        os.environ["PASSGATE_HOME"] = str(home)
        try:
            passgate("lab", "start")
            for call, how in story.scenery:
                set_scene(home, call, how)
            for words in (("up",), ("token", "issue", "alice", "--save"), story.acts[0].command[1:]):
                passgate(*words)
            yield Path(home, "lab/slack.url").read_text(encoding="utf-8").strip().removesuffix("api/")
        finally:
            passgate("down")
            passgate("lab", "stop")


def take_channel(page: Page, address: str) -> None:
    """Take the channel with its buttons, click Approve, and take it with the whole thread."""
    page.goto(address)
    page.get_by_role("button", name="Approve").wait_for()
    page.screenshot(path=IMAGES / "slack-waiting.png")
    approve(page)
    page.locator("button.replies").click()
    page.get_by_text("The evidence is written").wait_for(timeout=60_000)
    settled(page)
    page.screenshot(path=IMAGES / "slack-channel.png")


def take_form(page: Page, address: str) -> None:
    """Ask for a change by the shortcut: the list, the form with a mistake in it, and what came of it."""
    page.goto(address)
    page.get_by_role("button", name="Approve").wait_for()
    page.get_by_title("Request a change").click()
    dialog = page.get_by_role("dialog")
    dialog.locator("select").select_option("usb-attach")
    page.screenshot(path=IMAGES / "slack-request.png")
    dialog.get_by_role("button", name="Next").click()
    dialog.locator("[data-block=vm] input").fill("win-01")
    dialog.locator("[data-block=device] input").fill("the backup disk")
    dialog.locator("[data-block=reason] :is(input, textarea)").fill("The nightly backup needs its disk")
    dialog.get_by_role("button", name="Ask for it").click()
    dialog.get_by_role("alert").wait_for()
    page.screenshot(path=IMAGES / "slack-form.png")
    dialog.locator("[data-block=device] input").fill("18a5:0302")
    dialog.get_by_role("button", name="Ask for it").click()
    dialog.get_by_text("It goes on in").wait_for(timeout=60_000)
    page.screenshot(path=IMAGES / "slack-filed.png")
    dialog.get_by_role("button", name="Close").last.click()


def take_home(page: Page, address: str) -> None:
    """Take what waits for Bob."""
    page.goto(address)
    page.get_by_role("button", name="Approve").first.wait_for(timeout=60_000)
    settled(page)
    page.screenshot(path=IMAGES / "slack-home.png")


def take_gate(browser: Browser, address: str) -> None:
    """Approve the plan as Bob, and take what Carol sees while the change waits at its second gate."""
    bob = browser.new_page(viewport=SIZE)
    bob.goto(f"{address}?as=U0BOB")
    approve(bob)
    bob.get_by_role("button", name="Approve").wait_for(state="hidden", timeout=60_000)
    carol = browser.new_page(viewport=SIZE)
    carol.goto(f"{address}?as=U0CAROL")
    carol.locator("button.replies").click()
    carol.get_by_role("button", name="Approve").wait_for(timeout=60_000)
    settled(carol)
    carol.screenshot(path=IMAGES / "slack-gate.png")


def approve(page: Page) -> None:
    """Click Approve, and confirm it."""
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Approve").click()


def settled(page: Page) -> None:
    """Wait until both panes have scrolled to their ends."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)


def passgate(*words: str) -> None:
    """Run a command, and stop here when it fails."""
    subprocess.run([PASSGATE, *words], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
