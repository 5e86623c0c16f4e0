"""
Debian's chromium, headless, driven over the WebDriver protocol by the standard library alone. found() says whether both
programs are there.

    with Browser() as b:
        b.open('file:///...')
        b.js('return document.title')
"""
import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

QUIET = ['--headless', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update',
         '--disable-sync', '--disable-quic', '--no-default-browser-check', '--disable-dev-shm-usage']


def found():
    return shutil.which('chromium') and shutil.which('chromedriver')


class Browser:
    def __init__(self, width=1280, height=900):
        self.profile = tempfile.mkdtemp(prefix='dave-eval-browser-')
        self.driver = subprocess.Popen(['chromedriver', '--port=0'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       text=True)
        port = None
        for line in self.driver.stdout:
            port = re.search(r'started successfully on port (\d+)', line)
            if port:
                break
        if not port:
            raise RuntimeError('chromedriver did not start')
        self.base, self.session = f'http://127.0.0.1:{port.group(1)}', ''
        args = QUIET + [f'--user-data-dir={self.profile}', f'--window-size={width},{height}']
        if os.geteuid() == 0:
            args.append('--no-sandbox')
        try:
            made = self._call('POST', '/session', {'capabilities': {'alwaysMatch': {
                'browserName': 'chrome', 'goog:chromeOptions': {'binary': shutil.which('chromium'), 'args': args},
                'goog:loggingPrefs': {'browser': 'ALL'}}}})
        except (OSError, RuntimeError):
            self.close()
            raise
        self.session = f'/session/{made["sessionId"]}'

    def _call(self, verb, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + self.session + path, data, {'Content-Type': 'application/json'},
                                         method=verb)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy on the way to ourselves
        try:
            with opener.open(request, timeout=120) as answer:
                return json.load(answer)['value']
        except urllib.error.HTTPError as e:
            raise RuntimeError(json.load(e)['value']['message'].splitlines()[0]) from None

    def open(self, url):
        self._call('POST', '/url', {'url': url})

    def js(self, script, *args):
        return self._call('POST', '/execute/sync', {'script': script, 'args': list(args)})

    def until(self, script, *args, seconds=20):
        """Waits until the script gives something true, and returns that; None after so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.js(script, *args)
            if value:
                return value
            time.sleep(.05)
        return None

    def element(self, css):
        return next(iter(self._call('POST', '/element', {'using': 'css selector', 'value': css}).values()))

    def click(self, css):
        self.js('document.querySelector(arguments[0]).scrollIntoView({block: "center", behavior: "instant"})', css)
        self._call('POST', f'/element/{self.element(css)}/click', {})

    def keys(self, css, text):
        self._call('POST', f'/element/{self.element(css)}/value', {'text': text})

    def size(self, width, height):
        self._call('POST', '/window/rect', {'width': width, 'height': height})

    def scheme(self, name):
        """'light' or 'dark', as the system would prefer."""
        self._call('POST', '/goog/cdp/execute', {'cmd': 'Emulation.setEmulatedMedia', 'params': {
            'features': [{'name': 'prefers-color-scheme', 'value': name}]}})

    def console(self):
        """Messages of the console since the last call, as lines; requests to a network would be among them."""
        return [f'{m["level"]} {m["message"]}' for m in self._call('POST', '/se/log', {'type': 'browser'})]

    def screenshot(self, path):
        with open(path, 'wb') as f:
            f.write(base64.b64decode(self._call('GET', '/screenshot')))

    def close(self):
        try:
            if self.session:
                self._call('DELETE', '')
        except (OSError, RuntimeError):
            pass
        self.driver.terminate()
        self.driver.wait(10)
        shutil.rmtree(self.profile, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
