"""tests/family.py gives the recorded groups with the shapes of a method's inputs."""

import pytest
from family import FAMILY, cases


@pytest.mark.parametrize("method", [name for name in FAMILY["methods"] if name != "replay"])
def test_every_case_is_a_batch_of_one_group(method):
    recorded = cases(method)
    assert len(recorded) == len(FAMILY["methods"][method]["cases"]) >= 22
    assert len({case.name for case in recorded}) == len(recorded)
    for case in recorded:
        G = case.inputs["rewards"].shape[1]
        for name, values in case.inputs.items():
            assert values.shape == ((1, G, G) if name == "similarity" else (1, G)), name
        for name, values in case.expected.items():
            assert values.shape == ((1,) if name == "rho" else (1, G)), name
