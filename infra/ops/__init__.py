"""Tools for operators: dead letters, traces, stuck orders, the rebuild of the view.

They use AWS's APIs only, so they work on an emulator and on AWS.
"""

import sys
from pathlib import Path

# For infra.ops.domain.
sys.path.append(str(Path(__file__).parents[2] / "layers/common"))
