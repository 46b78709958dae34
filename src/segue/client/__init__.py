"""The robot's side: a control process that owns the robot, a link process that owns cameras and channel.

Start at `launch.run`; `loop` is the heart. Importing this package loads nothing:
the control process must stay free of what the link process needs.
"""
