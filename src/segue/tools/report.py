"""What runs have to say to a person: a table, a picture of the queue, a video of the arm.

These are functions over the records of finished runs. The table needs nothing;
picture and video need ``pip install 'segue[report]'``, and their libraries are
imported by the function that draws, so that importing this file costs nothing.
"""

from segue.tools.plot import queue_plot
from segue.tools.table import strategy_table
from segue.tools.video import video

__all__ = ["queue_plot", "strategy_table", "video"]
