"""Dead letters: what the dead-letter queues hold and why, and sending it back once it can be handled.

Through AWS's APIs alone, so it is the same on an emulator and on AWS.
"""
