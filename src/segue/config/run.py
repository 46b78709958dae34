"""The configuration of `segue run`, composed of one dataclass per room.

Defaults are the ones that LeRobot taught where it has them, and those of the
design's fault table for safety. Seconds here, nanoseconds in the rooms:
`cli.build` converts once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from segue.config.cameras import SIM_CAMERAS as OFFERED
from segue.config.cameras import SimCameraConfig
from segue.config.constraints import (
    Address,
    Count,
    Duration,
    Hz,
    Limit,
    PlainPath,
    Quality,
    Seconds,
    Seed,
    Share,
    Steps,
    Text,
)
from segue.config.refusal import Refused, shown
from segue.config.robot import (
    ABSENT_ROBOTS,
    ROBOTS,
    RobotConfig,
    SimSo101Config,
    So101FollowerConfig,
)
from segue.config.rtc import InferenceConfig, LerobotRtcConfig, RtcConfig, folded
from segue.config.schema import Flat, Help, Variants
from segue.config.security import AuthConfig, ClientTlsConfig, check_pair

_ADDRESS = "host:port such as gpu-box:8080 or [fe80::1%eth0]:8080, the port 1 to 65535"
# A question and its answers take 1.3 ms of wire and up to 2 ms of adapter, and 65 % of a tick is theirs.
MAX_SERIAL_HZ = 200.0
CONTROL_HZ = 100.0

OnLinkLossName = Literal["play_out", "stop_now"]
ResumeName = Literal["ask", "auto"]
StrategyName = Literal["auto", "rtc", "async", "sync"]
AggregateName = Literal["weighted_average", "latest_only", "average", "conservative", "temporal_ensemble"]


@dataclass(frozen=True, kw_only=True)
class LinkConfig:
    """The server, and how pictures travel to it."""

    server_address: Annotated[
        Address,
        Help("where `segue serve` listens, by a name that this computer knows or in numbers", _ADDRESS),
    ] = "127.0.0.1:8080"
    insecure: Annotated[bool, Help("allows a token in plain text to another machine")] = False
    use_proxy: Annotated[
        bool, Help("connects through the proxy that http_proxy or its like name; it reads what is not TLS")
    ] = False
    image_encoding: Annotated[Literal["jpeg", "raw"], Help("raw is exact and many times larger")] = "jpeg"
    image_quality: Annotated[Quality, Help("of JPEG")] = 90
    client_resize: Annotated[
        bool, Help("brings larger pictures to the policy's own size before they travel")
    ] = True
    slow_link_quality: Annotated[Quality, Help("of JPEG after two slow uploads in a row; once, and said")] = (
        40
    )
    slow_link_upload_s: Annotated[Limit, Help("an upload that takes longer is slow")] = 0.2


@dataclass(frozen=True, kw_only=True)
class JobConfig:
    """What to do, with which policy, and for how long."""

    task: Annotated[Text, Help("what to do, in words")] = ""
    pretrained_name_or_path: Annotated[Text, Help("policy to ask for; empty takes the one served")] = ""
    duration: Annotated[Duration | None, Help("seconds until the end; null runs until Ctrl-C")] = None
    episodes: Annotated[
        Count | None,
        Help("ends the run after so many; null for no end; on the simulated belt each cube is an episode"),
    ] = None
    episode_time_s: Annotated[
        Limit | None,
        Help("seconds from an episode's first action to its end; null lasts until the key n, y or x"),
    ] = None
    reset_time_s: Annotated[
        Seconds | None,
        Help("seconds between two episodes, with the arm at rest; null lasts until the key n"),
    ] = None
    dry_run: Annotated[
        bool, Help("reads robot and cameras, asks the policy and records, but moves nothing")
    ] = False
    return_to_initial_position: Annotated[
        bool,
        Help(
            "parks a real arm at robot.park_pose, or without one where it was at the start; "
            "with false it always stays where it is, and holds"
        ),
    ] = True
    seed: Annotated[Seed, Help("repeats the scene and the policy's noise")] = 0


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """How chunks are asked for and executed."""

    strategy: Annotated[
        StrategyName,
        Help(
            "rtc continues the plan, async replaces or blends it, sync waits; "
            "auto is rtc where the policy offers it, else async"
        ),
    ] = "auto"
    actions_per_chunk: Annotated[
        Steps | None,
        Help("actions used of each chunk (H); null means 50, or all where the policy makes fewer"),
    ] = None
    chunk_size_threshold: Annotated[
        Share | None,
        Help("asks when at most this share of a chunk is left (g); null means 1 for rtc, 0.5 for async"),
    ] = None
    min_execution_steps: Annotated[
        Steps | None,
        Help(
            "steps between two requests, at least, while the plan lasts (s); null means a fifth of a "
            "second for rtc, 10 for async"
        ),
    ] = None
    sync_aligned: Annotated[
        bool, Help("sync begins a chunk where the time has come to, and skips the actions before")
    ] = False
    aggregate_fn_name: Annotated[AggregateName, Help("how async joins a chunk with what was planned")] = (
        "weighted_average"
    )
    fps: Annotated[Hz | None, Help("steps per second; null takes the policy's own rate")] = None
    control_hz: Annotated[
        Hz | None,
        Help("commands per second to the robot, not below the steps' rate; null means 100, or that if more"),
    ] = None
    realtime: Annotated[bool, Help("asks for real-time scheduling of the control process")] = True

    @property
    def commands_hz(self) -> float:
        """Commands per second as far as is known before the policy is."""
        return max(CONTROL_HZ, self.fps or 0.0) if self.control_hz is None else self.control_hz


@dataclass(frozen=True, kw_only=True)
class ChoicesConfig:
    """What an arm does by itself."""

    on_link_loss: Annotated[OnLinkLossName, Help("go on for play_out_s, or hold at once")] = "play_out"
    resume: Annotated[
        ResumeName,
        Help("after the computer slept, ask waits for a person (key g) before anything moves, auto goes on"),
    ] = "ask"


@dataclass(frozen=True, kw_only=True)
class SafetyConfig(ChoicesConfig):
    """What happens when something fails."""

    max_action_age_s: Annotated[
        Limit | None,
        Help(
            "the oldest that an action may be, whatever is forecast; null means H/fps and 3 s more, "
            "or 3 inferences as declared, at most 10 s"
        ),
    ] = None
    play_out_s: Annotated[Seconds, Help("how much of the plan is still executed")] = 1.0
    hold_grace_s: Annotated[Seconds, Help("time held before the arm parks")] = 10.0
    offline_limit_s: Annotated[Limit, Help("time without a server that ends the run with 69")] = 60.0
    camera_limit_s: Annotated[Limit, Help("time without a camera that ends the run with 74")] = 30.0
    hold_ramp_s: Annotated[Seconds, Help("ramp into a hold")] = 0.2
    resume_ramp_s: Annotated[Seconds, Help("ramp out of a hold")] = 0.3
    park_s: Annotated[Limit, Help("longest duration of the move to the rest pose")] = 4.0
    min_deadline_s: Annotated[Limit, Help("shortest deadline of a request")] = 0.5


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """What a run leaves behind."""

    output_dir: Annotated[PlainPath | None, Help("folder of the records; null means outputs/<time>")] = None
    record_camera: Annotated[Text | None, Help("camera whose pictures are kept for a video")] = None
    record_commands: Annotated[bool, Help("keeps every command, about 115 MB an hour at 100 Hz")] = True
    debug_visualize_queue_size: Annotated[bool, Help("draws queue.png at the end; needs segue[report]")] = (
        False
    )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that `segue run` can be told."""

    link: Annotated[LinkConfig, Flat()] = field(default_factory=LinkConfig)
    tls: ClientTlsConfig = field(default_factory=ClientTlsConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    robot: Annotated[RobotConfig, Variants(ROBOTS, ABSENT_ROBOTS)]
    job: Annotated[JobConfig, Flat()] = field(default_factory=JobConfig)
    execution: Annotated[ExecutionConfig, Flat()] = field(default_factory=ExecutionConfig)
    rtc: RtcConfig = field(default_factory=RtcConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    safety: SafetyConfig = field(default_factory=SafetyConfig)
    output: Annotated[OutputConfig, Flat()] = field(default_factory=OutputConfig)

    def resolve(self, given: frozenset[str]) -> RunConfig:
        """Returns this configuration with LeRobot's names folded into ours, checked as a whole.

        Raises:
            Refused: two keys contradict each other.
        """
        theirs = self.inference.rtc
        resolved = replace(
            self,
            execution=_strategy_folded(self.execution, theirs, given),
            rtc=folded(self.rtc, theirs, given),
            inference=InferenceConfig(),
        )
        _check(resolved)
        return resolved


def _strategy_folded(
    ours: ExecutionConfig, theirs: LerobotRtcConfig, given: frozenset[str]
) -> ExecutionConfig:
    if theirs.enabled is None:
        return ours
    chosen = "strategy" in given and ours.strategy != "auto"
    if chosen and theirs.enabled != (ours.strategy == "rtc"):
        says = f"contradicts --strategy={ours.strategy}; give one of them"
        raise Refused("inference.rtc.enabled", says, str(theirs.enabled).lower())
    if theirs.enabled:
        return replace(ours, strategy="rtc")
    return ours if chosen else replace(ours, strategy="async")


def _check(config: RunConfig) -> None:
    execution, camera, cameras = config.execution, config.output.record_camera, config.robot.camera_names()
    fps, control_hz = execution.fps, execution.control_hz
    if fps is not None and control_hz is not None and fps > control_hz:
        raise Refused("fps", f"expected at most control_hz={control_hz:g}", f"{fps:g}")
    if camera is not None and camera not in cameras:
        allowed = f"one of {', '.join(cameras)}" if cameras else "null, there are no cameras"
        raise Refused("record_camera", f"expected {allowed}", shown(camera))
    serial = isinstance(config.robot, So101FollowerConfig)
    for key, hz in (("control_hz", control_hz), ("fps", fps)):
        if serial and hz is not None and hz > MAX_SERIAL_HZ:
            says = f"a serial bus answers at most {MAX_SERIAL_HZ:g} times a second; expected at most that"
            raise Refused(key, says, f"{hz:g}")
    check_pair(config.tls.cert_file, config.tls.key_file)
    _check_robot(config.robot, config.job)


def _check_robot(robot: RobotConfig, job: JobConfig) -> None:
    for name, camera in robot.cameras.items():
        if isinstance(camera, SimCameraConfig) and name not in OFFERED:
            says = f"the simulation has no such camera; expected one of {', '.join(OFFERED)}, or type fake"
            raise Refused(f"robot.cameras.{name}", says)
    if not job.return_to_initial_position:
        _check_staying(robot)
    if not isinstance(robot, SimSo101Config):
        return
    # On a belt each cube is an episode.
    for key, time_s in (("episode_time_s", job.episode_time_s), ("reset_time_s", job.reset_time_s)):
        if time_s is not None:
            says = "on the simulated belt each cube is an episode and has its own time; expected null"
            raise Refused(key, says, f"{time_s:g}")
    if job.episodes is not None and robot.belt.max_cubes not in (None, job.episodes):
        says = f"contradicts robot.belt.max_cubes={robot.belt.max_cubes}; give one of them"
        raise Refused("episodes", says, str(job.episodes))


def _check_staying(robot: RobotConfig) -> None:
    if not isinstance(robot, So101FollowerConfig):
        says = "a robot that is not real ends at its rest pose; expected true"
        raise Refused("return_to_initial_position", says, "false")
    if robot.park_pose.joints():
        says = "contradicts robot.park_pose, which says where the arm ends; give one of them"
        raise Refused("return_to_initial_position", says, "false")


def check_flags(config: RunConfig, flags: Collection[str]) -> None:
    """Refuses flags that contradict each other.

    What a file says beside a flag, or nobody said, contradicts nothing: it is warned about when the
    policy is known, and the run goes on with what is possible.

    Args:
        config: resolved.
        flags: keys that were given as flags; those of a file may be defaults that were written down.

    Raises:
        Refused: two of them do.
    """
    steps, most = config.execution.min_execution_steps, config.execution.actions_per_chunk
    both = {"min_execution_steps", "actions_per_chunk"} <= set(flags)
    if both and steps is not None and most is not None and steps > most:
        raise Refused("min_execution_steps", f"expected at most actions_per_chunk={most}", str(steps))


# Which of LeRobot's and our own flags mean something to which strategy alone.
_USED_BY = (
    (("rtc.", "inference.rtc."), ("rtc",)),
    (("aggregate_fn_name",), ("async",)),
    (("sync_aligned",), ("sync",)),
    (("chunk_size_threshold", "min_execution_steps"), ("rtc", "async")),
)


def idle_flags(config: RunConfig, flags: Collection[str]) -> tuple[str, ...]:
    """Returns a note for each of `flags` that the configured strategy does not use.

    Args:
        config: resolved.
        flags: keys that were given as flags; those of a file may be defaults that were written down.
    """
    strategy, notes = config.execution.strategy, []
    for flag in sorted(set(flags) - {"inference.rtc.enabled"}):
        users = next((who for names, who in _USED_BY if flag.startswith(names)), ("auto", strategy))
        if strategy == "auto" and len(users) == 1:
            notes.append(f"--{flag} means something to --strategy={users[0]} alone, and --strategy is auto")
        elif strategy not in ("auto", *users):
            notes.append(f"--{flag} changes nothing: --strategy={strategy} does not use it")
    return tuple(notes)
