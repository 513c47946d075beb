"""What every member of a family promises, checked of all of them by one suite for each family.

How a new member joins; the first four suites fail as long as one is missing in them:

- `test_backend.py`: in `backends.py` one entry of MEMBERS for each form of its options, and in BREAKS how its
  library is made to fail. A file with a `lower` that makes no artifact goes into APART, with the reason.
- `test_checkpoint_format.py`: in `formats.py` one entry of FORMATS, which writes `small` to a file and names
  the settings that say something about it. A new setting of agents gets a value in SETTINGS, and is refused
  by name by every format that does not take it.
- `test_pass.py`: nothing. It runs all of `pipeline.PASSES`, and fails for a pass's name in a file that is not
  there. A precision that no pass had before gets its limit in PROMISED.
- `test_executor.py`: its options in OPTIONS, once for each form that runs differently.
- `test_cache_level.py`, `test_policy.py`, `test_pool.py`: one more parameter of the fixture `level` or of
  `every_policy`, one more of KINDS.

A promise that a suite checks stands in the docstring of the family's base: a new one is written there first.
"""
