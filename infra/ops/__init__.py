"""Tools for operators: dead letters, traces, stuck orders, the rebuild of the view.

They use AWS's APIs only, so they work on an emulator and on AWS.
"""

import sys

from infra.local.build import PROJECT

sys.path.append(str(PROJECT / "layers/common"))  # for infra.ops.domain
