"""Everything on the link's side of a run, put together and taken apart again.

Cameras, dialer, link thread, recorder, video: each is a part of its own with a
file of its own; here they are only started in the right order, handed what they
share, and ended whatever happened.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType

from segue.cameras.base import Camera
from segue.cameras.latest import LatestFrame, WatchPlan
from segue.client.diary import Diary
from segue.client.ending import StopSwitch
from segue.client.link import GaveUp, Link
from segue.client.mailbox import Mailbox, mailbox_pair
from segue.client.messages import Ended
from segue.client.opening import opening
from segue.client.pictures import Pictures
from segue.client.plan import ControlPlan, ExecutionPlan, RunPlan, fitted, settle
from segue.client.pulse import Pulse, PulseWatch, silent_after_ns
from segue.client.recorder import Recorder, Reporter, RunFiles
from segue.client.video import VideoLog
from segue.clock import NS_PER_MS, NS_PER_S, SystemClock
from segue.core.facts import ExitReason
from segue.core.link.dial import LinkSession
from segue.core.link.heard import Heard, ends_as
from segue.core.specs import CameraSpec, PolicySpec, RobotSpec
from segue.core.watchdog import Cause
from segue.errors import ConfigError, LinkLost, LocalProtocolError, Overloaded, SegueError
from segue.wire.records import Handshake

log = logging.getLogger(__name__)

_WHERE_TO_LOOK = (
    "see that `segue serve` runs there, that the address is right, and that no firewall is between"
)
_FIRST_PICTURE_S = 10.0
# One that says what is wrong is not waited for so long.
_FIRST_FAULT_S = 4.0
_LOOK_S = 0.1
_JOIN_S = 3.0
# A camera of one picture a second is not dead after one.
_STALE_FRAMES = 3
_MOST_KEPT_FRAMES = 64


class LinkSide:
    """The link's side of one run; use it as a context manager."""

    def __init__(self, plan: RunPlan, cameras: Sequence[Camera], reporter: Reporter) -> None:
        """Opens nothing yet.

        Raises:
            ConfigError: the camera to be recorded is none of `cameras`.
        """
        self.files = RunFiles(None)
        self._plan = plan
        self._reporter = reporter
        self._clock = SystemClock()
        self._cameras = {camera.spec.name: self._watched(camera) for camera in cameras}
        self._link: Link | None = None
        self._recorder: Recorder | None = None
        self._diary, self._diary_end = mailbox_pair()
        self._threads: _Threads | None = None
        _check_recorded(plan.output.record_camera, list(self._cameras))

    def __repr__(self) -> str:
        return f"<LinkSide {self._link!r} cameras={list(self._cameras)}>"

    def __enter__(self) -> LinkSide:
        for camera in self._cameras.values():
            camera.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
        if self._link is not None:
            self._link.close()
        for camera in self._cameras.values():
            camera.stop()
        self._diary_end.close()
        self.files.close()

    @property
    def refusal(self) -> SegueError | None:
        """Why the server turned us away in mid-run; None when it did not."""
        refusal = self._link.refusal if self._link is not None else None
        return refusal if isinstance(refusal, SegueError) else None

    @property
    def failure(self) -> Exception | None:
        """What ended the link in mid-run and should not have happened; None when nothing did."""
        return self._threads.failure if self._threads is not None else None

    @property
    def records_held_up(self) -> bool:
        """Whether the recorder still waits for a disk or a pipe: what was said last may lie unread."""
        return self._recorder is not None and self._recorder.busy

    @property
    def waits_for_go(self) -> bool:
        """Whether the arm holds since the computer slept, as far as was told."""
        return self._recorder is not None and self._recorder.why == Cause.SLEPT

    @property
    def over(self) -> bool:
        """Whether the link was started and has ended, for whatever reason."""
        return self._threads is not None and self._threads.over

    def open(self, spec: RobotSpec, stop: StopSwitch) -> ControlPlan | None:
        """Dials until a session is open, and returns what the control loop is to do; None when stopped.

        Args:
            spec: the robot's; its cameras are those of this side.
            stop: ends the waiting.

        Raises:
            SegueError: refused, or the offline limit passed without a server.
        """
        cameras = tuple(camera.spec for camera in self._cameras.values())
        offered = replace(spec, observation=replace(spec.observation, cameras=cameras))
        context, link = self._plan.context, self._plan.link
        handshake = Handshake(
            robot_id=context.robot_id,
            robot=offered,
            policy=link.policy,
            guidance=context.guidance,
            chunk_length=context.chunk_length,
            auto=self._plan.execution.rule.strategy is None,
        )
        limit_ns = self._plan.execution.safety.offline_limit_ns
        self._link = Link(link, offered, partial(fitted, handshake), self._clock, limit_ns)
        session = self._dial(self._link, stop)
        if session is None:
            return None
        policy = session.policy
        settled = settle(self._plan, policy, cameras, session.round_trip_ns)
        for sentence in opening(self._plan, settled, policy, session.round_trip_ns):
            self._reporter.say(sentence)
        self._plan = replace(self._plan, execution=settled.execution)
        for camera in self._cameras.values():
            camera.keep(_frames_kept(camera.spec, settled))
        return settled

    def record(self, control: Mailbox) -> None:
        """Begins to write down what both sides say; from `control` come the loop's records."""
        self.files = RunFiles(self._plan.output.directory)
        sides = (control, self._diary_end)
        self._recorder = Recorder(sides, self.files, self._reporter, self._give_up)
        self._recorder.start()

    def serve(self, mailbox: Mailbox, pulse: Pulse, settled: ControlPlan) -> None:
        """Starts the link, and the watch over the control loop, on threads of their own.

        Args:
            mailbox: shared with the control loop.
            pulse: of the control loop.
            settled: what the control loop was told.
        """
        link, plan = self._link, self._plan.link
        if link is None or link.machine.session is None:
            raise LocalProtocolError("serve before open")
        sizes = link.machine.session.policy.geometries if plan.pictures.client_resize else {}
        pictures = Pictures(self._cameras, plan.pictures.encoding, plan.pictures.quality, sizes)
        diary = Diary(self._diary, self._plan.context.robot_id, "link")
        limit_ns = silent_after_ns(settled.execution.control_hz)
        # A diary of its own: its lines are counted on the watch's thread.
        tell = partial(self._tell_pulse, Diary(self._diary, self._plan.context.robot_id, "pulse"))
        watch = PulseWatch(pulse, limit_ns, self._clock, tell)
        cameras = list(self._cameras.values())
        work = partial(link.run, mailbox, pictures, diary)
        self._threads = _Threads(link, work, cameras, self._video(), watch)
        self._threads.start()

    def _give_up(self, damage: str) -> None:
        """Leaves a control process alone that writes nonsense, so that it brings the arm to rest."""
        self._reporter.say(f"the control process wrote what is no message: {damage}; it is left alone")
        if self._threads is not None:
            self._threads.link.stop()

    def say(self, text: str) -> None:
        """Passes a sentence on to the person at the terminal."""
        self._reporter.say(text)

    def finish(self) -> Ended | None:
        """Ends link and recorder, and returns the control loop's last words; None when there were none."""
        if self._threads is not None:
            self._threads.stop()
        self._diary.close()
        if self._recorder is None:
            return None
        self._recorder.join(_JOIN_S)
        return self._recorder.ended

    def facts(self) -> dict[str, object]:
        """Returns what this side adds to the summary: who was asked, and how."""
        execution = self._plan.execution
        session = self._link.machine.session if self._link else None
        policy = session.policy if session else None
        return {
            **_asking(execution, policy),
            "aggregate": execution.aggregate,
            "control_hz": execution.control_hz,
            "action_hz": execution.action_hz,
            "policy": policy.name if policy else None,
            "policy_hash": policy.policy_hash if policy else None,
            "declared_inference_ms": policy.warm_inference_ns / NS_PER_MS if policy else None,
            "records_failed": self.files.failures,
        }

    def _dial(self, link: Link, stop: StopSwitch) -> LinkSession | None:
        """Returns the first session, or None when stopped.

        Raises:
            SegueError: refused, or the offline limit passed without a session.
        """
        address = self._plan.link.server_address

        def waits(heard: Heard) -> None:
            self._reporter.say(f"waiting for a server: {address}: {heard}")

        try:
            return link.open(lambda: bool(stop.asked), waits)
        except GaveUp as end:
            raise _gave_up(address, end.heard, self._plan.execution.safety.offline_limit_ns) from None

    def _tell_pulse(self, diary: Diary, silence_ns: int, again: bool) -> None:
        """Says that the control loop fell silent, or ticks again; runs on the watch's thread."""
        silence_ms = silence_ns / NS_PER_MS
        event = "control_ticks_again" if again else "control_silent"
        diary.write(event, self._clock.now_ns(), {"silent_ms": round(silence_ms, 3)})
        if again:
            diary.say(f"the control loop ticks again, after {silence_ms:.0f} ms")
        else:
            diary.say(
                f"the control loop has not ticked for {silence_ms:.0f} ms: the arm keeps its last command"
            )

    def _watched(self, camera: Camera) -> LatestFrame:
        slowest = int(_STALE_FRAMES * NS_PER_S / camera.spec.fps)
        stale_ns = max(self._plan.link.camera_age_ns, slowest)
        return LatestFrame(camera, WatchPlan(stale_ns=stale_ns), self._clock)

    def _video(self) -> VideoLog | None:
        output = self._plan.output
        if output.directory is None or output.record_camera is None:
            return None
        camera = self._cameras[output.record_camera]
        path = output.directory / f"{camera.spec.name}.mjpeg"
        return VideoLog(camera, path, self._reporter.say)


class _Threads:
    """The link, the video and the watch over the control loop, each on its thread."""

    def __init__(
        self,
        link: Link,
        work: Callable[[], None],
        cameras: Sequence[LatestFrame],
        video: VideoLog | None,
        watch: PulseWatch,
    ) -> None:
        self.link = link
        self.failure: Exception | None = None
        self._work = work
        self._cameras = cameras
        self._video = video
        self._watch = watch
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._watch.start()
        if self._video is not None:
            self._video.start()

    @property
    def over(self) -> bool:
        return self._thread.ident is not None and not self._thread.is_alive()

    def stop(self) -> None:
        self._watch.stop()
        self.link.stop()
        self._thread.join(_JOIN_S)
        if self._video is not None:
            self._video.stop()

    def _run(self) -> None:
        try:
            self._live()
        except Exception as error:  # the loop sees the link's end, and brings the arm to rest
            log.exception("the link failed")
            self.failure = error

    def _live(self) -> None:
        # A simulated camera shows nothing before the robot ticks, a real one needs a second to
        # begin; what has not begun by then is reported by the link as a fault.
        began = time.monotonic()
        while not all(camera.wait_first(_LOOK_S) for camera in self._cameras):
            waited_s = time.monotonic() - began
            failed = any(camera.fault() is not None for camera in self._cameras)
            if waited_s >= _FIRST_PICTURE_S or (failed and waited_s >= _FIRST_FAULT_S):
                break
        self._work()


def _gave_up(address: str, heard: Heard, limit_ns: int) -> SegueError:
    """Returns the error of a run for which no session was opened in time."""
    kind = Overloaded if ends_as(heard) == ExitReason.OVERLOADED else LinkLost
    return kind(f"no server within {limit_ns / NS_PER_S:g} s: {address}: {heard}; {_WHERE_TO_LOOK}")


def _asking(execution: ExecutionPlan, policy: PolicySpec | None) -> dict[str, object]:
    """Returns how chunks were asked for and how old actions might get; None where that was never settled."""
    oldest_ns = execution.safety.max_action_age_ns
    rule = None
    if policy is not None and execution.action_hz is not None:
        rule = execution.rule.settled(policy.horizon, execution.action_hz)
    wished = rule or execution.rule
    return {
        "strategy": wished.strategy.value if wished.strategy else None,
        "actions_per_chunk": wished.horizon,
        "chunk_size_threshold": wished.threshold,
        "min_execution_steps": wished.min_execution_steps,
        "sync_aligned": wished.aligned,
        "max_action_age_s": None if oldest_ns is None else oldest_ns / NS_PER_S,
    }


def _check_recorded(name: str | None, cameras: Sequence[str]) -> None:
    if name is not None and name not in cameras:
        allowed = ", ".join(cameras) or "none, there are no cameras"
        raise ConfigError(f"record_camera: {name}: there is no such camera; allowed is {allowed}")


def _frames_kept(camera: CameraSpec, plan: ControlPlan) -> int:
    """Returns how many frames reach back over the policy's history, at least 1."""
    history_s = plan.history_steps / plan.action_hz
    return min(_MOST_KEPT_FRAMES, math.ceil(history_s * camera.fps) + 1)
