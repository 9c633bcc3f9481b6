"""Real kubectl against a real cluster, directly and through stub and agent, and the simulator against that cluster."""

import pytest

# Before anything imports them: the asserts of scenarios shall explain themselves as those of test files do.
pytest.register_assert_rewrite("tests.scenarios")
