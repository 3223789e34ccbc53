"""A headless Chromium that reads a page as a person does, and what it logged meanwhile."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.command import Command
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)
PROGRAMS = ("chromium", "chromedriver")


def missing() -> str:
    """Why no browser can be started; empty if one can."""
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"{' and '.join(lacking)} not found: apt-get install chromium chromium-driver" if lacking else ""


class Browser:
    """A Chromium with one page open at a time."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, path: Path, address: str = "") -> None:
        """Load a page anew, wait until it is ready, and forget what was logged before."""
        self.driver.get("about:blank")
        self.logged()
        self.driver.get(f"{path.as_uri()}{address}")
        self.wait(lambda: self.run("return document.documentElement.dataset.ready === 'true'"))
        self.settle()

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, holds: Callable[[], Any], seconds: float = 20) -> Any:
        return WebDriverWait(self.driver, seconds, poll_frequency=0.02).until(lambda _: holds())

    def settle(self) -> None:
        """Wait until the transcript that the address names is drawn and the search is over."""
        drawn = "const state = readAddress(); return !state || addressOf(state) === addressOf(shown)"
        idle = "return !document.querySelector('[aria-busy]') && !searching()"
        self.wait(lambda: self.run(drawn) and self.run(idle))

    def go(self, address: str) -> None:
        self.run("location.hash = arguments[0]", address)
        self.settle()

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        return list(self.run("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector))

    def press(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()
        self.settle()

    def click(self, selector: str, number: int = 0) -> None:
        """Click one of the elements, where the fixed navigation does not cover it."""
        element = self.all(selector)[number]
        self.run("arguments[0].scrollIntoView({ block: 'center' })", element)
        element.click()
        self.settle()

    def set_media(self, media: str = "", **features: str) -> None:
        """Pretend a medium ("print") and features such as prefers_color_scheme="dark"."""
        pairs = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": pairs})

    def set_size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def _log(self, kind: str) -> list[dict[str, Any]]:
        return list(self.driver.execute(Command.GET_LOG, {"type": kind})["value"])

    def logged(self) -> tuple[list[str], list[str]]:
        """The console's errors and warnings, and the addresses of all requests, since the last call."""
        errors = [entry["message"] for entry in self._log("browser")]
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        requests = [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]
        return errors, requests


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """Start a browser with the empty directory `profile` as its own, and end it."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=ChromeService(executable_path=shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
