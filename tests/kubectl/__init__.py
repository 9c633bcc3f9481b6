"""Real kubectl against the simulator, directly and through stub and agent."""

import pytest

# Before anything imports them: the asserts of scenarios shall explain themselves as those of test files do.
pytest.register_assert_rewrite("tests.scenarios")
