"""The policy server: a gRPC skin over pure admission (`session`) and pure batching (`batcher`).

Nothing is imported here, so that the pure parts can be used without gRPC.
"""
