"""What becomes of a checkpoints topic that holds something else."""

import pytest

from procurator.errors import Unavailable
from procurator.query_api.proofs import _aside
from procurator.verify.trust import claimed


async def test_a_record_that_is_no_checkpoint_makes_proofs_unavailable() -> None:
    with pytest.raises(Unavailable, match="is no checkpoint"):
        await _aside(lambda: claimed(b"junk"))
