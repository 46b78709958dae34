"""From the configuration that people write to the records that the rooms take.

Seconds become nanoseconds and names become the core's own words, once and here.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from segue.client.episodes import EpisodePlan
from segue.client.plan import ExecutionPlan, LinkPlan, OutputPlan, PicturePlan, RunPlan
from segue.client.proxies import proxy_use
from segue.client.security import LinkFiles, LinkSecurity, check_proxy, check_token
from segue.clock import NS_PER_S
from segue.config.robot import SimSo101Config, So101FollowerConfig
from segue.config.run import RunConfig
from segue.config.run import SafetyConfig as SafetySeconds
from segue.config.serve import ServeConfig
from segue.core.link.slowlink import SlowLinkRule
from segue.core.schedule import DEFAULT_HORIZON, RuleWishes
from segue.core.types import Guidance, Jacobian, RtcMode, Schedule, Strategy
from segue.core.watchdog import OnLinkLoss, Resume, SafetyConfig
from segue.server.security import SecurityFiles, ServerSecurity
from segue.server.settings import ServerConfig
from segue.wire.keyfiles import TOKEN_VARIABLE
from segue.wire.records import Encoding, RequestContext


def run_plan(config: RunConfig, directory: Path) -> RunPlan:
    """Returns the plan of a run that leaves its records in `directory`.

    Raises:
        ConfigError: a file with a secret is wrong, or the token would travel in plain text.
    """
    job, link, execution = config.job, config.link, config.execution
    rule = RuleWishes(
        strategy=_strategy(execution.strategy),
        horizon=execution.actions_per_chunk,
        threshold=execution.chunk_size_threshold,
        min_execution_steps=execution.min_execution_steps,
        aligned=execution.sync_aligned,
    )
    serial = isinstance(config.robot, So101FollowerConfig)
    return RunPlan(
        context=RequestContext(
            robot_id=config.robot.id,
            session_id="",
            spec_hash="",
            task=job.task,
            guidance=guidance(config),
            chunk_length=execution.actions_per_chunk or DEFAULT_HORIZON,
            seed=job.seed,
        ),
        link=LinkPlan(
            server_address=link.server_address,
            policy=job.pretrained_name_or_path,
            pictures=PicturePlan(Encoding(link.image_encoding), link.image_quality, link.client_resize),
            slow_link=SlowLinkRule(_ns(link.slow_link_upload_s), link.slow_link_quality),
            security=link_security(config),
        ),
        execution=ExecutionPlan(
            control_hz=execution.commands_hz,
            # A bus is asked at a rate that is set before the policy is known.
            may_speed_up=execution.control_hz is None and not serial,
            action_hz=execution.fps,
            rule=rule,
            aggregate=execution.aggregate_fn_name,
            safety=safety(config.safety),
            duration_ns=_ns_or_none(job.duration),
            episodes=episodes(config),
            realtime=execution.realtime,
            dry=job.dry_run,
        ),
        output=OutputPlan(directory, config.output.record_camera, config.output.record_commands),
    )


def _strategy(name: str) -> Strategy | None:
    """Returns the strategy of that name; None for the one that is chosen when the policy is known."""
    return None if name == "auto" else Strategy(name)


def episodes(config: RunConfig) -> EpisodePlan:
    """Returns how the run is divided; on the simulated belt the cubes divide it."""
    job = config.job
    if isinstance(config.robot, SimSo101Config):
        return EpisodePlan()
    return EpisodePlan(job.episodes, _ns_or_none(job.episode_time_s), _ns_or_none(job.reset_time_s))


def guidance(config: RunConfig) -> Guidance:
    """Returns how the policy is to continue a leftover."""
    rtc = config.rtc
    return Guidance(
        strategy=_strategy(config.execution.strategy) or Strategy.RTC,
        mode=RtcMode(rtc.mode),
        schedule=Schedule(rtc.schedule),
        prefix_end=rtc.prefix_end,
        max_weight=rtc.max_weight,
        jacobian=Jacobian(rtc.jacobian),
    )


def safety(config: SafetySeconds) -> SafetyConfig:
    """Returns the watchdog's numbers."""
    oldest = config.max_action_age_s
    return SafetyConfig(
        max_action_age_ns=None if oldest is None else _ns(oldest),
        on_link_loss=OnLinkLoss(config.on_link_loss),
        resume=Resume(config.resume),
        play_out_ns=_ns(config.play_out_s),
        hold_grace_ns=_ns(config.hold_grace_s),
        offline_limit_ns=_ns(config.offline_limit_s),
        camera_limit_ns=_ns(config.camera_limit_s),
        hold_ramp_ns=_ns(config.hold_ramp_s),
        resume_ramp_ns=_ns(config.resume_ramp_s),
        park_ns=_ns(config.park_s),
        min_deadline_ns=_ns(config.min_deadline_s),
    )


def server_config(config: ServeConfig) -> ServerConfig:
    """Returns the server's settings.

    Raises:
        ConfigError: a file with a secret is wrong.
    """
    listen, serving = config.listen, config.serving
    return ServerConfig(
        host=listen.host,
        port=listen.port,
        inference_latency_s=serving.inference_latency,
        max_robots=serving.max_robots,
        max_batch=serving.max_batch,
        drain_s=serving.drain_s,
        requests_per_s=serving.requests_per_s,
        watchdog_s=serving.watchdog_s,
        security=server_security(config),
    )


def link_security(config: RunConfig) -> LinkSecurity:
    """Returns what the robot proves, and how it knows the server.

    Raises:
        ConfigError: a file is wrong, the token would travel in plain text, or there is no proxy to use.
    """
    tls, link = config.tls, config.link
    environment = os.environ.get(TOKEN_VARIABLE)
    files = LinkFiles(tls.ca_file, tls.cert_file, tls.key_file, config.auth.token_file, environment)
    proxy = proxy_use(link.server_address, os.environ, wanted=link.use_proxy)
    security = replace(files.read(tls.server_name or ""), proxy=proxy)
    overheard = check_proxy(security, insecure=link.insecure)
    overheard += check_token(link.server_address, security, insecure=link.insecure)
    return replace(security, warnings=security.warnings + overheard)


def server_security(config: ServeConfig) -> ServerSecurity:
    """Returns what the server proves, and what it wants proved.

    Raises:
        ConfigError: a file is wrong.
    """
    tls, environment = config.tls, os.environ.get(TOKEN_VARIABLE)
    files = SecurityFiles(
        tls.cert_file, tls.key_file, tls.client_ca_file, config.auth.token_file, environment
    )
    return files.read(insecure=config.listen.insecure)


def _ns_or_none(seconds: float | None) -> int | None:
    return None if seconds is None else _ns(seconds)


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)
