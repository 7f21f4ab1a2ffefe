"""One browser for all the tests of this folder; without one they are skipped and say so."""

import pytest

from browser.chromium import NAMES, Chromium, executable


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    path = executable()
    if path is None:
        pytest.skip(f"no Chromium: neither $CHROMIUM nor {', '.join(NAMES)} is a program here")
    with Chromium(path, tmp_path_factory.mktemp("profile")) as browser:
        yield browser
