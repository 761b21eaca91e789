"""Operating the stack: dead letters, sagas as timelines, orders that are stuck, the view rebuilt.

Through AWS's APIs alone, so it is the same on an emulator and on AWS.
"""

import sys

from infra.local.build import PROJECT

# The events and their ids are what the functions say they are.
sys.path.append(str(PROJECT / "layers/common"))
