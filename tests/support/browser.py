"""The server's page in a headless Chromium, which must be installed."""
import contextlib
import os
import shutil

import pytest

# The reason of conftest.py, which $BERT_NO_SKIPS=but-optional allows
NO_BROWSER = 'there is no Chromium with Playwright and curl'
PROGRAMS = 'chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'


@contextlib.contextmanager
def running_browser():
    """A `playwright.sync_api.Browser`. Skips the test if there is none."""
    # not where the tests are collected: a module that skips there does so whatever was asked for
    playwright = pytest.importorskip('playwright.sync_api', reason=NO_BROWSER)
    path = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if path is None:
        pytest.skip(NO_BROWSER)
    # as root, Chromium has no sandbox
    arguments = ['--no-sandbox'] if os.getuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


class ModelPage:
    """The page of a server, in a tab of its own. context: of the browser; url: of the server."""

    def __init__(self, context, url):
        self.page, self.url = context.new_page(), url
        self.requests, self.failures = [], []
        self.page.set_default_timeout(10000)
        self.page.on('request', lambda request: self.requests.append(request.url))
        self.page.on('pageerror', lambda error: self.failures.append(str(error)))
        self.panel = self.page.locator('.panel:visible')
        self.result = self.panel.locator('.result')
        self.button = self.panel.locator('[type=submit]')

    def open(self, model):
        """Open the page at a model."""
        self.page.goto('%s/#/%s' % (self.url, model))
        self.panel.wait_for()

    def fill(self, **texts):
        """Write into fields, by their names."""
        for name, text in texts.items():
            self.panel.locator('[name=%s]' % name).fill(text)

    def submit(self):
        """Ask the model, and wait for what comes of it."""
        self.button.click()
        self.wait()

    def wait(self):
        self.panel.and_(self.page.locator('[aria-busy=false]')).wait_for()

    def cut_long_texts(self):
        self.panel.locator('[type=checkbox]').check()

    def texts(self, css):
        """The texts of elements of the result."""
        return self.result.locator(css).all_inner_texts()

    def numbers(self, css='data'):
        """The exact values of the result's numbers."""
        return [float(item.get_attribute('value')) for item in self.result.locator(css).all()]

    @property
    def command(self):
        return self.panel.locator('.request code').text_content()

    @property
    def status(self):
        return self.panel.locator('.status').inner_text()

    @property
    def alert(self):
        """The text of the panel's alert; '' for none."""
        return self.panel.locator('[role=alert]').inner_text()
