"""A robot's side of one channel to a server that is a process of its own, whatever policy it serves."""

from __future__ import annotations

from dataclasses import replace

import grpc
import numpy as np

from segue.core.specs import CameraSpec, RobotSpec
from segue.core.types import ActionChunk, ChunkRequest, Guidance, Leftover, Observation
from segue.wire import policy_pb2 as pb
from segue.wire.channel import client_options
from segue.wire.codec import add_images, decode_chunk, encode_request
from segue.wire.handshake import decode_description, decode_welcome, encode_handshake
from segue.wire.image import encode
from segue.wire.policy_pb2_grpc import PolicyServiceStub
from segue.wire.records import Handshake, RequestContext

WAIT_S = 30.0
PICTURE = np.full((48, 64, 3), 100, dtype=np.uint8)


class AnyRobot:
    """A robot that fits the policy which it finds, and says what it is told to."""

    def __init__(self, address: str, channel: grpc.Channel | None = None) -> None:
        """Asks what is served at `address`; `open` comes before the first request."""
        self.channel = channel or grpc.insecure_channel(address, options=client_options())
        self.stub = PolicyServiceStub(self.channel)
        described = decode_description(self.stub.Describe(pb.DescribeRequest(), timeout=WAIT_S))
        self.policy = described.policies[0]
        seen = replace(self.policy.observation, cameras=(CameraSpec("front", 48, 64),))
        self.spec = RobotSpec("any", seen, self.policy.action)
        self.session_id = ""

    def handshake(self) -> pb.OpenRequest:
        """Returns a good handshake."""
        return encode_handshake(Handshake("arm-1", self.spec, previous_session_id=self.session_id))

    def open(self) -> AnyRobot:
        """Opens a session in place of the one before."""
        reply = self.stub.Open(self.handshake(), timeout=WAIT_S)
        self.session_id = decode_welcome(reply).session_id
        return self

    def message(self, number: int = 1) -> pb.InferRequest:
        """Returns a good request, with a picture and a leftover of four actions."""
        state = np.zeros(len(self.spec.observation.state))
        environment = np.zeros(len(self.spec.observation.environment))
        leftover = Leftover(np.zeros((4, len(self.policy.action))), None)
        observation = Observation(0, number, state, environment)
        request = ChunkRequest(number, 1, 0, observation, (), leftover, 2, 0, 0, 0)
        spec_hash = self.policy.spec_hash()
        context = RequestContext("arm-1", self.session_id, spec_hash, "wave", Guidance(), 0, 1)
        message = encode_request(request, context)
        add_images(message, {"front": encode(PICTURE)})
        return message

    def infer(self, message: pb.InferRequest) -> ActionChunk:
        """Returns the chunk for `message`."""
        return decode_chunk(self.stub.Infer(message, timeout=WAIT_S))[0]

    def ask(self, number: int) -> int:
        """Sends a good request, and returns the number of the one that was answered."""
        chunk = self.infer(self.message(number))
        assert chunk.robot_actions.shape == (self.policy.horizon, len(self.policy.action))
        return chunk.request_number
