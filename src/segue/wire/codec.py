"""Requests and chunks to messages and back.

The control process encodes the snapshot (`encode_request`), the link process
adds the newest pictures (`add_images`), the server decodes all but the
pictures, and the chunk goes the other way. What is checked here is what needs
no knowledge of robot or policy; the rest is checked against the session.
Neither grpc nor a JPEG library is imported: the control process stays light.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from segue.core.types import NO_ENVIRONMENT, ActionChunk, ChunkRequest, Leftover, Observation
from segue.wire import policy_pb2 as pb
from segue.wire.checks import brief, check_name, check_range, check_text, check_unique, wrong
from segue.wire.enums import ENCODINGS
from segue.wire.records import EncodedImage, RequestContext, ServerTimings
from segue.wire.specs_codec import decode_guidance, encode_guidance
from segue.wire.tensors import decode_tensor, encode_tensor
from segue.wire.version import (
    MAX_CAMERAS,
    MAX_COUNT,
    MAX_HISTORY,
    MAX_HORIZON,
    MAX_REQUEST_NUMBERS,
    MAX_SIDE_PIXELS,
    MAX_STAGE_NS,
    MAX_TASK_CHARS,
)

Images = Mapping[str, EncodedImage]


def encode_request(request: ChunkRequest, context: RequestContext) -> pb.InferRequest:
    """Returns the message for `request`, still without pictures.

    The client's own times, `requested_ns` and `deadline_ns`, stay with the client.
    """
    message = pb.InferRequest(
        robot_id=context.robot_id,
        session_id=context.session_id,
        spec_hash=context.spec_hash,
        epoch=request.epoch,
        number=request.number,
        start_step=request.start_step,
        observation=_encode_observation(request.observation),
        history=[_encode_observation(earlier) for earlier in request.history],
        task=context.task,
        delay_steps=request.delay_steps,
        guidance=encode_guidance(context.guidance),
        seed=context.seed,
        chunk_length=context.chunk_length,
        slack_ns=request.slack_ns,
    )
    if request.leftover is not None:
        message.leftover.CopyFrom(_encode_leftover(request.leftover))
    return message


def add_images(message: pb.InferRequest, images: Images, history: Sequence[Images] = ()) -> None:
    """Adds the pictures to a message made by `encode_request`.

    Args:
        message: is changed in place.
        images: by camera, of the present observation.
        history: by camera, one mapping for each earlier observation, oldest first; may be empty.
    """
    _put_images(message.observation, images)
    if history:
        for earlier, pictures in zip(message.history, history, strict=True):
            _put_images(earlier, pictures)


def decode_request(message: pb.InferRequest) -> tuple[RequestContext, ChunkRequest]:
    """Returns what `message` asks, its pictures left out (see `encoded_images`).

    `requested_ns` and `deadline_ns` are 0: the server does not know the client's clock.

    Raises:
        RemoteProtocolError: a field is wrong; the text names it.
    """
    check_range(len(message.history), "history: count", 0, MAX_HISTORY)
    check_range(message.epoch, "epoch", 0, MAX_COUNT)
    check_range(message.number, "number", 0, MAX_COUNT)
    check_range(message.start_step, "start_step", 0, MAX_COUNT)
    check_range(message.delay_steps, "delay_steps", 0, MAX_HORIZON)
    request = ChunkRequest(
        number=message.number,
        epoch=message.epoch,
        start_step=message.start_step,
        observation=_decode_observation(message.observation, "observation"),
        history=tuple(_decode_observation(earlier, "history") for earlier in message.history),
        leftover=_decode_leftover(message.leftover) if message.HasField("leftover") else None,
        delay_steps=message.delay_steps,
        requested_ns=0,
        deadline_ns=0,
        slack_ns=message.slack_ns,
    )
    return _decode_context(message), request


def encoded_images(message: pb.Observation, field: str = "observation") -> dict[str, EncodedImage]:
    """Returns the pictures of an observation by camera, as they travelled.

    Raises:
        RemoteProtocolError: too many, one twice, an unknown encoding or an absurd size.
    """
    check_range(len(message.images), f"{field}.images: count", 0, MAX_CAMERAS)
    names = [check_name(image.camera, f"{field}.images: camera") for image in message.images]
    check_unique(names, f"{field}.images")
    return {
        name: _decode_image(image, name, field) for name, image in zip(names, message.images, strict=True)
    }


def encode_chunk(chunk: ActionChunk) -> pb.InferReply:
    """Returns the message for `chunk`, its timings still unset (see `set_timings`)."""
    message = pb.InferReply(
        request_number=chunk.request_number,
        epoch=chunk.epoch,
        start_step=chunk.start_step,
        captured_ns=chunk.captured_ns,
        robot_actions=encode_tensor(chunk.robot_actions),
        conditioned_delay=chunk.conditioned_delay,
        policy_hash=chunk.policy_hash,
        cold=chunk.cold,
    )
    if chunk.model_actions is not None:
        message.model_actions.CopyFrom(encode_tensor(chunk.model_actions))
    return message


def set_timings(message: pb.InferReply, timings: ServerTimings) -> None:
    """Puts `timings` into a reply."""
    message.timings.queue_ns = timings.queue_ns
    message.timings.decoding_ns = timings.decoding_ns
    message.timings.preprocessing_ns = timings.preprocessing_ns
    message.timings.inference_ns = timings.inference_ns
    message.timings.postprocessing_ns = timings.postprocessing_ns
    message.timings.total_ns = timings.total_ns


def decode_chunk(message: pb.InferReply) -> tuple[ActionChunk, ServerTimings]:
    """Returns the chunk and the server's durations.

    Numbers that are not finite pass, and so does an answer to another request: the core drops and
    counts such a chunk. `captured_ns` may be any number, since it is only held against what was asked.

    Raises:
        RemoteProtocolError: a field is wrong; the text names it.
    """
    has_model_actions = message.HasField("model_actions")
    check_range(message.conditioned_delay, "conditioned_delay", 0, MAX_HORIZON)
    chunk = ActionChunk(
        request_number=message.request_number,
        epoch=message.epoch,
        start_step=message.start_step,
        captured_ns=message.captured_ns,
        robot_actions=decode_tensor(message.robot_actions, "robot_actions", 2),
        model_actions=decode_tensor(message.model_actions, "model_actions", 2) if has_model_actions else None,
        conditioned_delay=message.conditioned_delay,
        policy_hash=check_name(message.policy_hash, "policy_hash"),
        cold=message.cold,
    )
    size = chunk.robot_actions.size + (0 if chunk.model_actions is None else chunk.model_actions.size)
    if size > MAX_REQUEST_NUMBERS:
        says = f"{size} numbers with those of model_actions are too large a chunk"
        raise wrong("robot_actions", f"{says}, at most {MAX_REQUEST_NUMBERS} are allowed")
    return chunk, _decode_timings(message.timings)


def _encode_observation(observation: Observation) -> pb.Observation:
    message = pb.Observation(
        state=encode_tensor(observation.state),
        step=observation.step,
        captured_ns=observation.captured_ns,
    )
    if len(observation.environment):
        message.environment.CopyFrom(encode_tensor(observation.environment))
    return message


def _decode_observation(message: pb.Observation, field: str) -> Observation:
    environment = NO_ENVIRONMENT
    if message.HasField("environment"):
        environment = decode_tensor(message.environment, f"{field}.environment", 1)
    check_range(message.step, f"{field}.step", 0, MAX_COUNT)
    return Observation(
        step=message.step,
        captured_ns=message.captured_ns,
        state=decode_tensor(message.state, f"{field}.state", 1),
        environment=environment,
    )


def _encode_leftover(leftover: Leftover) -> pb.Leftover:
    message = pb.Leftover(robot_actions=encode_tensor(leftover.robot_actions))
    if leftover.model_actions is not None:
        message.model_actions.CopyFrom(encode_tensor(leftover.model_actions))
    return message


def _decode_leftover(message: pb.Leftover) -> Leftover:
    robot_actions = decode_tensor(message.robot_actions, "leftover.robot_actions", 2)
    if not message.HasField("model_actions"):
        return Leftover(robot_actions)
    model_actions = decode_tensor(message.model_actions, "leftover.model_actions", 2)
    if len(model_actions) != len(robot_actions):
        says = f"{len(robot_actions)} robot actions and {len(model_actions)} model actions, expected as many"
        raise wrong("leftover", says)
    return Leftover(robot_actions, model_actions)


def _decode_context(message: pb.InferRequest) -> RequestContext:
    check_range(message.chunk_length, "chunk_length", 0, MAX_HORIZON)
    check_range(message.seed, "seed", 0, 2**63 - 1)
    return RequestContext(
        robot_id=check_name(message.robot_id, "robot_id"),
        session_id=check_text(message.session_id, "session_id"),
        spec_hash=check_text(message.spec_hash, "spec_hash"),
        task=check_text(message.task, "task", MAX_TASK_CHARS),
        guidance=decode_guidance(message.guidance),
        chunk_length=message.chunk_length,
        seed=message.seed,
    )


def _put_images(message: pb.Observation, images: Images) -> None:
    for camera, image in images.items():
        message.images.add(
            camera=camera,
            encoding=ENCODINGS.encode(image.encoding),
            height=image.height,
            width=image.width,
            data=image.data,
        )


def _decode_image(message: pb.Image, name: str, field: str) -> EncodedImage:
    where = f"{field}.images: {brief(name)}"
    encoding = ENCODINGS.decode(message.encoding, f"{where}: encoding")
    check_range(message.height, f"{where}: height", 1, MAX_SIDE_PIXELS)
    check_range(message.width, f"{where}: width", 1, MAX_SIDE_PIXELS)
    return EncodedImage(encoding, message.height, message.width, message.data)


def _decode_timings(message: pb.Timings) -> ServerTimings:
    timings = ServerTimings(
        queue_ns=message.queue_ns,
        decoding_ns=message.decoding_ns,
        preprocessing_ns=message.preprocessing_ns,
        inference_ns=message.inference_ns,
        postprocessing_ns=message.postprocessing_ns,
        total_ns=message.total_ns,
    )
    for field in ServerTimings.__slots__:
        check_range(getattr(timings, field), f"timings.{field}", 0, MAX_STAGE_NS)
    return timings
