"""What the tests against the model have in common."""

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

# How many times as many examples as in the normal run; 0 is the normal run, whose examples are the
# same each time.
TIMES = int(os.environ.get("HOMING_MODEL_TIMES", "0"))


def examples(count, steps=50):
    """Shrinking needs many runs of what fails, so it stays on; nothing is kept on the disk."""
    return settings(max_examples=count * max(TIMES, 1), stateful_step_count=steps,
                    derandomize=not TIMES, database=None, deadline=None, print_blob=True,
                    report_multiple_bugs=False,
                    phases=[Phase.explicit, Phase.generate, Phase.shrink],
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                                           HealthCheck.filter_too_much])


def run_machine(machine, how):
    run_state_machine_as_test(machine, settings=how)
