"""What the tests share: servers as subprocesses, a raw RESP client, a comparer, waiting with a deadline.

Import from the modules: `instance`, `client`, `reference`, `wait`. Fixtures on top of them are in `tests/conftest.py`.
"""
