"""Take the picture of the server's page in the README.

    ./run pip install playwright
    ./run serve.py --model_dir output_dir/RottenTomatoes-001 &
    ./run python docs/screenshot.py http://127.0.0.1:8080 docs/figures/page.png

It needs Chromium.
"""
import argparse
import os
import shutil

from playwright.sync_api import sync_playwright

TEXT = 'A film of quiet wonder .'
WIDTH = 720     # pixels


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('url', help='of a server with a classifier')
    parser.add_argument('output', help='PNG file')
    args = parser.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which('chromium'),
            args=['--no-sandbox'] if os.getuid() == 0 else [])  # root has no sandbox
        page = browser.new_page(viewport={'width': WIDTH, 'height': 400})
        page.goto(args.url)
        panel = page.locator('.panel:visible')
        panel.locator('[name=text]').fill(TEXT)
        panel.locator('[type=submit]').click()
        panel.and_(page.locator('[aria-busy=false]')).wait_for()
        panel.locator('.verdict').wait_for()
        page.wait_for_timeout(500)      # until the result is no longer fading in
        page.screenshot(path=args.output, full_page=True)
        browser.close()


if __name__ == '__main__':
    main()
